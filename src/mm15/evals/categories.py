"""Category scores and MMBase: which benchmarks are averaged, what is published about that, and what is our reading.

A member is a benchmark, or several that are averaged first. A score with a missing member is empty: nothing is averaged
away. Where the paper does not say what belongs to a category, the basis is ``INFERRED``, it stands on the report, and
other readings can be chosen by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mm15.base.catalogue import did_you_mean
from mm15.base.errors import ConfigError

PUBLISHED, INFERRED, OURS = "published", "inferred", "ours"
Member = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a category score is the mean of, and where that is said."""

    members: tuple[Member, ...]
    basis: str
    note: str = ""


DEFAULT = "default"
_REFCOCO = ("refcoco", "refcoco", "refcoco-plus", "refcoco-plus", "refcocog")
"""Mean over the five splits: testA and testB of the first two, test of the third; a benchmark counts once per split."""
_MULTI = ("qbench2", "mantis-eval", "nlvr2", "blink", "mvbench", "muirbench")
_VL_ICL = (
    "vl-icl-open-mi",
    "vl-icl-operator",
    "vl-icl-operator-interleaved",
    "vl-icl-textocr",
    "vl-icl-clevr",
    "vl-icl-matching-mi",
)

PAPER: Mapping[str, Mapping[str, Rule]] = {
    "general": {
        DEFAULT: Rule(
            ("mme", "seed-image", "pope", "llava-w", "mm-vet", "realworldqa"), PUBLISHED, "MME as (P + C) / 28"
        ),
        "without-judged": Rule(("mme", "seed-image", "pope", "realworldqa"), OURS, "where there is no judge"),
    },
    "text_rich": {
        DEFAULT: Rule(
            ("wtq", "tabfact", "ocrbench", "chartqa", "textvqa", "docvqa", "infovqa"),
            INFERRED,
            "mean of the seven; a later paper's figures do not follow from it",
        ),
    },
    "knowledge": {
        DEFAULT: Rule(("ai2d", "scienceqa", "mmmu", "mathvista"), PUBLISHED, ""),
        "without-scienceqa": Rule(("ai2d", "mmmu", "mathvista"), PUBLISHED, "as arXiv 2503.13111 reports it"),
    },
    "refer_ground": {
        DEFAULT: Rule(
            (_REFCOCO, "flickr30k", ("lvis-ref-box", "lvis-ref-point"), "ferret-bench"),
            INFERRED,
            "RefCOCO family over its five splits, LVIS-Ref over box and point",
        ),
        "without-judged": Rule(
            (_REFCOCO, "flickr30k", ("lvis-ref-box", "lvis-ref-point")), OURS, "where there is no judge"
        ),
    },
    "multi_image": {
        DEFAULT: Rule(_MULTI, INFERRED, "membership in the ablations is not stated"),
        "without-mvbench": Rule(tuple(name for name in _MULTI if name != "mvbench"), INFERRED, "pictures only"),
    },
    "in_context": {DEFAULT: Rule(_VL_ICL, PUBLISHED, "mean of the six tasks")},
}
"""The category scores of MM1.5 (sections 6.1 and 6.2 of its evaluation): category → name of a reading → rule."""

MINI: Mapping[str, Mapping[str, Rule]] = {
    "general": {DEFAULT: Rule(("mini-vqa",), OURS)},
    "text_rich": {DEFAULT: Rule(("mini-words", "mini-kv", "mini-pages", "mini-charts"), OURS)},
    "knowledge": {DEFAULT: Rule(("mini-science", "mini-math"), OURS)},
    "refer_ground": {DEFAULT: Rule(("mini-refer", "mini-ground"), OURS)},
    "multi_image": {DEFAULT: Rule(("mini-pairs",), OURS)},
    "in_context": {DEFAULT: Rule(("mini-in-context",), OURS, "two examples; without them as a control apart")},
    "video": {DEFAULT: Rule(("mini-video",), OURS, "four frames of each clip, as pictures")},
}
"""Of the miniature suite; what is not here is reported apart."""

SUITE_RULES: Mapping[str, Mapping[str, Mapping[str, Rule]]] = {"paper": PAPER, "mini": MINI}
MMBASE = ("general", "text_rich", "knowledge")
"""MMBase is the mean of these three category scores (MM1.5, evaluation)."""


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """A category's mean, 0-100, and how it came about. ``value`` is None while ``missing`` names something."""

    category: str
    value: float | None
    members: tuple[str, ...]
    missing: tuple[str, ...]
    reading: str
    basis: str
    note: str


def category_scores(
    suite: str, values: Mapping[str, float], readings: Mapping[str, str] | None = None
) -> dict[str, CategoryScore]:
    """Category → score, of a suite that has categories; of others nothing.

    Args:
        values: benchmark → its primary number, 0-100.
        readings: category → name of a reading where the default one is not wanted.

    Raises:
        ConfigError: unknown categories or readings, with the nearest names.
    """
    rules = SUITE_RULES.get(suite, {})
    chosen = dict(readings or {})
    check_readings(chosen, suite)
    scores = {}
    for category, named in rules.items():
        reading = chosen.get(category, DEFAULT)
        rule = named[reading]
        members = tuple(dict.fromkeys(name for member in rule.members for name in _names(member)))
        missing = tuple(name for name in members if name not in values)
        value = None if missing else _mean([_mean([values[name] for name in _names(m)]) for m in rule.members])
        scores[category] = CategoryScore(category, value, members, missing, reading, rule.basis, rule.note)
    return scores


def check_readings(readings: Mapping[str, str], suite: str = "paper") -> None:
    """Raises ``ConfigError`` with every category or reading that a suite does not know."""
    rules = SUITE_RULES.get(suite, {})
    problems = []
    for category, reading in readings.items():
        if category not in rules:
            problems.append(f"unknown category '{category}'{did_you_mean(category, rules)}; known: {', '.join(rules)}")
        elif reading not in rules[category]:
            known = rules[category]
            problems.append(f"{category}: unknown reading '{reading}'{did_you_mean(reading, known)}; known: "
                            f"{', '.join(known)}")  # fmt: skip
    if problems:
        raise ConfigError(problems, "--reading")


def mmbase(scores: Mapping[str, CategoryScore]) -> float | None:
    """Mean of the three categories of MMBase; None while one of them is empty."""
    values = [scores[category].value for category in MMBASE if category in scores]
    present = [value for value in values if value is not None]
    return _mean(present) if len(present) == len(MMBASE) else None


def _names(member: Member) -> tuple[str, ...]:
    return (member,) if isinstance(member, str) else member


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
