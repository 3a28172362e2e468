"""The page of a run: scores by ability, what training looked like, what it drew, and answers to look at.

Legend: H W pixels of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Box, Region, RegionPart
from mm15.evals.benchmark import find
from mm15.evals.items import Item, prompt_text
from mm15.evals.predictions import Prediction
from mm15.evals.results import EvalReport
from mm15.evals.standing import TITLES, Other, abilities, against, beside_paper, failure_table, speed_table
from mm15.images.pixels import open_picture
from mm15.images.split import SplitPolicy, choose_grid, tile_borders, unsplit
from mm15.io.atomic import write_atomic
from mm15.io.media import read_bytes
from mm15.pages.charts import bars, curves
from mm15.pages.html import Html, Page, Section, bullets, cards, content, folded, paragraph, row, table
from mm15.pages.pictures import Mark, border_lines, picture
from mm15.processor import Processor
from mm15.text.regions import parse_regions

PREDICTED, RIGHT, ASKED = "#ff3b30", "#30d158", "#0a84ff"


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One training stage: the rows of its ``log.jsonl``, its share table, and how long it took."""

    name: str
    log_rows: Sequence[Mapping[str, Any]]
    """Rows with ``step`` and ``loss``, and ``categories`` (category → loss) if known. Other rows are passed over."""
    share_rows: Sequence[Mapping[str, Any]]
    """One mapping per source, as ``dataclasses.asdict`` of the mixture's share rows gives them."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Example:
    """One answered question to show. Regions are in pixels of the first picture."""

    benchmark: str
    prediction: Prediction
    item: Item
    score: float
    """The primary score, 0..1."""


def pick_examples(report: EvalReport, best: int = 2, worst: int = 2) -> list[Example]:
    """The best and the worst answers of every benchmark, best first; ties in file order, spread over the tasks."""
    examples = []
    for name, predictions in report.predictions.items():
        if name in report.submissions:
            continue  # nothing says how good they are
        benchmark = find(name)
        seen: dict[tuple[str, float], int] = {}
        ranked = []
        for item, kept in zip(report.items[name], predictions, strict=True):
            score = benchmark.item_value(kept.scores)
            turn = seen[kept.task, score] = seen.get((kept.task, score), -1) + 1
            ranked.append((score, turn, Example(name, kept, item, score)))
        top = sorted(ranked, key=lambda entry: (-entry[0], entry[1]))[:best]
        rest = [entry for entry in ranked if all(entry is not shown for shown in top)]
        low = sorted(rest, key=lambda entry: (entry[0], entry[1]))[:worst]
        examples += [example for _, _, example in (*top, *reversed(low))]
    return examples


def write_report(
    path: str | Path,
    title: str,
    stages: Sequence[StageSummary],
    results: Mapping[str, Any],
    examples: Sequence[Example],
    notes: Sequence[str] = (),
    processor: Processor | None = None,
    others: Sequence[Other] = (),
    paper: str = "",
) -> None:
    """Write the page, one file that needs nothing beside it.

    Args:
        results: what ``run.results_json`` gives.
        examples: what ``pick_examples`` gives, or any choice of them.
        notes: sentences at the top.
        processor: draws its tile borders on the example pictures.
        others: other models on the same items.
        paper: a size of the paper whose numbers stand beside these; empty: none.

    Raises:
        ConfigError: the paper has no such size.
    """
    sections = [abilities(results, others), Section("Scores", _scores(results, notes)), *against(others)]
    if paper:
        sections.append(beside_paper(results, paper))
    if stages:
        sections.append(Section("Training", tuple(part for stage in stages for part in _stage(stage))))
    shown: dict[str, list[Example]] = {}
    for example in examples:
        shown.setdefault(example.benchmark, []).append(example)
    policy = processor and (processor.config.answer_split or processor.config.split)
    if shown:
        legend = paragraph(
            Html(
                f'<b style="color:{PREDICTED}">predicted</b> · <b style="color:{RIGHT}">right</b> · '
                f'<b style="color:{ASKED}">asked about</b> · broken lines are the borders of the sub-images the model '
                "saw beside the whole picture"
            )
        )
        groups = (
            folded(
                f"{name}: {len(listed)} answers", cards(*(_card(example, policy) for example in listed)), is_open=True
            )
            for name, listed in shown.items()
        )
        sections.append(Section("Answers", (legend, *groups)))
    write_atomic(
        path,
        Page(title, tuple(sections), "Scores are 0-100 unless said otherwise; n is the number of questions.").render(),
    )


def _scores(results: Mapping[str, Any], notes: Sequence[str]) -> tuple[Html, ...]:
    scores = results["scores"]
    series = {"trained": "value", "untrained": "untrained", "best constant answer": "constant"}
    if all(score["untrained"] is None for score in scores):
        del series["untrained"]
    groups = {score["benchmark"]: [score[key] for key in series.values()] for score in scores}
    rows = [
        [
            score["benchmark"] if score["counts"] else Html(f"{content(score['benchmark'])} <i>(apart)</i>"),
            TITLES[score["category"]],
            score["metric"],
            score["value"],
            f"{score['low']:.1f} to {score['high']:.1f}",
            score["untrained"],
            score["constant"],
            score["n"],
        ]
        for score in scores
    ]
    header = [
        "benchmark",
        "category",
        "metric",
        "score",
        "95 % interval",
        "untrained",
        "best constant",
        "n",
    ]
    parts = [bullets(notes)] if notes else []
    parts.append(bars(groups, list(series)))
    parts.append(table(header, rows))
    if unreadable := [f"{score['errors']} of {score['benchmark']}" for score in scores if score["errors"]]:
        parts.append(paragraph("Questions whose picture could not be read, counted as wrong: " + ", ".join(unreadable)))
    constants = [[score["benchmark"], score["constant_answer"], score["constant"]] for score in scores]
    parts.append(folded("The best constant answers", table(["benchmark", "answer", "score"], constants)))
    if results["details"]:
        details = [[score["benchmark"], score["metric"], score["value"], score["n"]] for score in results["details"]]
        parts.append(folded("Other metrics, and scores by task", table(["benchmark", "metric", "score", "n"], details)))
    parts.append(failure_table(results))
    if speed := speed_table(results):
        parts.append(speed)
    if submissions := results.get("submissions"):
        told = (f"{name} ({', '.join(files)})" for name, files in submissions.items())
        parts.append(paragraph("Not scored, to be handed in: " + "; ".join(told)))
    return tuple(parts)


def _stage(stage: StageSummary) -> list[Html]:
    steps = [logged for logged in stage.log_rows if isinstance(logged.get("loss"), int | float)]
    lines = {"all": [(float(logged["step"]), float(logged["loss"])) for logged in steps]}
    for name in sorted({name for logged in steps for name in logged.get("categories") or {}}):
        lines[name] = [
            (float(logged["step"]), float(logged["categories"][name]))
            for logged in steps
            if (logged.get("categories") or {}).get(name) is not None
        ]
    length = f"{stage.seconds / 60:.1f} min" if stage.seconds >= 60 else f"{stage.seconds:.0f} s"
    last = f", loss {steps[-1]['loss']:.3f} at the end" if steps else ""
    if len(lines) == 2:
        del lines["all"]  # with one category the two curves are the same
    parts = [Html(f"<h3>{content(stage.name)}</h3>"), paragraph(f"{len(steps)} steps in {length}{last}"), curves(lines)]
    if stage.share_rows:
        header = list(stage.share_rows[0])
        rows = [[_cell(name, shares.get(name)) for name in header] for shares in stage.share_rows]
        parts.append(folded("What it drew", table(header, rows)))
    return parts


def _cell(name: str, value: Any) -> str | float | None:
    if name == "share" and isinstance(value, int | float):
        return Html(f"{100 * value:.1f} %")
    return value if value is None or isinstance(value, int | float) else str(value)


def _card(example: Example, policy: SplitPolicy | None) -> Html:
    kept, item = example.prediction, example.item
    verdict = f"score {100 * example.score:.0f}"
    parts = [_picture(example, policy)] if item.sample.images else []
    parts.append(paragraph(prompt_text(item.sample).replace("<image>", "").strip()))
    parts.append(paragraph(Html(f"<b>{content(kept.answer or '(no answer)')}</b>")))
    parts.append(Html(f'<p class="quiet">right: {content(" | ".join(kept.references))} · {verdict}</p>'))
    if kept.error:
        parts.append(Html(f'<p class="quiet">{content(kept.error)}</p>'))
    return Html("".join(parts))


def _picture(example: Example, policy: SplitPolicy | None) -> Html:
    """The pictures of a question; marks and tile borders are on the first."""
    item, figures = example.item, []
    images = item.sample.images
    for number, image in enumerate(images):
        try:
            opened = open_picture(read_bytes(image.media), str(image.media), image.media.frame, dpi=image.media.dpi)
        except SkipSample as error:
            return Html(f'<p class="quiet">{content(str(error))}</p>')
        rule = policy if policy is None or image.split else unsplit(policy)
        splitting = sum(part.split for part in images)
        grid = choose_grid(opened.height, opened.width, rule, splitting) if rule is not None else None
        caption = f"{opened.width}×{opened.height} px"
        if grid is not None and grid.rows * grid.cols > 1:
            caption += f", {grid.rows}×{grid.cols} sub-images"
        lines = []
        if grid and policy:
            borders = tile_borders(opened.height, opened.width, grid, policy.tile)
            lines = border_lines(opened.width, opened.height, *borders)
        marks = _marks(example, opened.width, opened.height) if number == 0 else []
        if len(images) > 1:
            figures.append(picture(opened, marks, lines, side=95))
        else:
            figures.append(picture(opened, marks, lines, caption, side=210))
    return row(*figures) if len(figures) > 1 else figures[0]


def _marks(example: Example, width: int, height: int) -> list[Mark]:
    asked = [
        part.region
        for message in example.item.sample.messages
        for part in message.parts
        if isinstance(part, RegionPart)
    ]
    right = [reference for reference in example.item.references if isinstance(reference, Box)]
    found = parse_regions(example.prediction.answer, width, height)
    marks = [_mark(region, "", ASKED) for region in asked]
    marks += [_mark(region.region, region.label, PREDICTED) for region in found]
    return marks + [_mark(box, "", RIGHT) for box in right]  # last: its broken line leaves what lies below visible


def _mark(region: Region, label: str, colour: str) -> Mark:
    if isinstance(region, Box):
        return Mark(region.x1, region.y1, region.x2, region.y2, label, colour, dashed=colour == RIGHT)
    return Mark(region.x, region.y, region.x, region.y, label, colour)
