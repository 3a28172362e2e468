"""Sections of the page of a run: abilities as a radar, categories and their members, other models, the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mm15.evals.compare import Comparison
from mm15.evals.failures import CLASSES
from mm15.evals.fixed import not_fixed
from mm15.evals.paper import paper_scores
from mm15.pages.charts import bars, radar
from mm15.pages.html import Html, Section, folded, paragraph, table

TITLES = {
    "general": "General",
    "text_rich": "Text-rich",
    "knowledge": "Knowledge",
    "refer_ground": "Refer and ground",
    "multi_image": "Multi-image",
    "in_context": "In-context",
    "video": "Video",
    "ui": "Screens",
    "few_shot": "Few-shot",
}


@dataclass(frozen=True, slots=True)
class Other:
    """Another model on the same items: its name, category means (0-100) and the comparison of every benchmark."""

    name: str
    categories: Mapping[str, float | None]
    comparisons: Sequence[Comparison] = field(default_factory=tuple)


def abilities(results: Mapping[str, Any], others: Sequence[Other]) -> Section:
    """Radar over categories, and what each category score is the mean of."""
    names = list(results["categories"])
    parts: list[Html] = []
    series = {"this model": [results["categories"][name] for name in names]}
    series |= {other.name: [other.categories.get(name) for name in names] for other in others}
    if len(names) >= 3 and any(value is not None for value in series["this model"]):
        parts.append(radar([TITLES[name] for name in names], series))
    rules = results["category_rules"]
    rows = [
        [
            TITLES[name],
            results["categories"][name],
            ", ".join(rules[name]["members"]),
            rules[name]["basis"] + (f": {rules[name]['note']}" if rules[name]["note"] else ""),
            ", ".join(rules[name]["missing"]) or None,
        ]
        for name in names
    ]
    if rows:
        base = [Html("<b>MMBase</b>"), results["mmbase"], "mean of general, text-rich and knowledge", "published", None]
        parts.append(table(["category", "score", "mean of", "basis", "missing"], [*rows, base]))
    told = []
    if results["partial"]:
        told.append("Not all official questions were asked: these numbers cannot be compared with published ones.")
    if unlike := not_fixed(results["fixed"]):
        told.append(unlike)
    if results["not_judged"]:
        told.append("Answered but not judged (no judge was named): " + ", ".join(results["not_judged"]))
    if results["judge"]:
        told.append(f"Judge: {results['judge']}. Scores of another judge are not comparable.")
    if results["missing"]:
        told.append("Not run, no files: " + ", ".join(results["missing"]))
    return Section("By ability", (*parts, *map(paragraph, told)))


def against(others: Sequence[Other]) -> list[Section]:
    """Each other model, benchmark by benchmark, on the same items."""
    sections = []
    for other in others:
        if not other.comparisons:
            continue
        rows = [
            [
                found.benchmark,
                found.metric,
                found.value,
                found.other,
                Html(f"{'<b>' if found.certain else ''}{found.difference:+.1f}{'</b>' if found.certain else ''}"),
                f"{found.low:+.1f} to {found.high:+.1f}",
                f"{found.better} : {found.worse}",
                f"{found.p:.3f}",
                found.n,
            ]
            for found in other.comparisons
        ]
        header = ["benchmark", "metric", "this model", other.name, "difference", "95 % interval", "better : worse",
                  "sign test p", "n"]  # fmt: skip
        note = paragraph("Paired on the same items; bold where the interval excludes no difference.")
        groups = {found.benchmark: [found.value, found.other] for found in other.comparisons}
        chart = bars(groups, ["this model", other.name])
        sections.append(Section(f"Against {other.name}", (note, chart, table(header, rows))))
    return sections


def beside_paper(results: Mapping[str, Any], size: str) -> Section:
    """The paper's numbers for a size beside those measured here.

    Raises:
        ConfigError: the paper has no such size.
    """
    published = paper_scores(size)
    measured = {score["benchmark"]: score for score in results["scores"]}
    rows = []
    for name, score in published.items():
        here = measured.get(name)
        note = ""
        if here is not None and name in ("docvqa", "infovqa") and here["split"] != "test":
            note = f"measured on {here['split']}, the paper's is test"
        value = here["value"] if here else None
        rows.append([name, value, score.value, None if value is None else value - score.value, score.basis, note])
    header = ["benchmark", "this model", f"MM1.5-{size}", "difference", "basis of the paper's number", "note"]
    told = paragraph(
        "Numbers of the paper are as its tables have them where the basis says published; the others are recalled and "
        "marked. They were measured with other weights and may differ in prompt and split."
    )
    return Section(f"Beside the paper's {size}", (told, table(header, rows)))


def failure_table(results: Mapping[str, Any]) -> Html:
    """How answers are wrong, benchmark by benchmark."""
    found = results["failures"]
    used = [name for name in CLASSES if any(name in counts for counts in found.values())]
    rows = [[benchmark, *(counts.get(name, 0) for name in used)] for benchmark, counts in found.items()]
    return folded("How answers are wrong", table(["benchmark", *used], rows), is_open=True)


def speed_table(results: Mapping[str, Any]) -> Html | None:
    """Items per second and what bounds them."""
    rows = [
        [name, speed["items"], speed["items_per_second"], speed["reading_seconds"], speed["answering_seconds"],
         speed["bound"]]
        for name, speed in results["speed"].items()
        if speed["items"]
    ]  # fmt: skip
    header = ["benchmark", "items", "items/s", "seconds reading", "seconds answering", "bound by"]
    return folded("Speed of this run", table(header, rows)) if rows else None
