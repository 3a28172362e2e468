"""The paper's own numbers, to stand beside measured ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from mm15.base.catalogue import did_you_mean
from mm15.base.errors import ConfigError

FILE = Path(__file__).with_name("paper_scores.yaml")
PUBLISHED = "published"
SURE = {"": PUBLISHED, "m": "recalled", "l": "recalled, uncertain", "s": "secondary source"}
TOGETHER = ("mme-perception", "mme-cognition", "refcoco-family", "lvis-ref", "vl-icl")
"""Numbers of the paper that are of several benchmarks, or of parts of one."""


@dataclass(frozen=True, slots=True)
class PaperScore:
    """A number of the paper's tables, in its points, and how sure it is."""

    value: float
    basis: str


def sizes() -> list[str]:
    """The model sizes that the paper's tables have."""
    return list(_tables())


def paper_scores(size: str) -> dict[str, PaperScore]:
    """Benchmark → the paper's number for a model size; ``mme`` is (P + C) / 28.

    Raises:
        ConfigError: the paper has no such size.
    """
    tables = _tables()
    if size not in tables:
        raise ConfigError([f"no size '{size}'{did_you_mean(size, tables)}; known: {', '.join(tables)}"], "--paper")
    scores = dict(tables[size])
    p, c = scores.get("mme-perception"), scores.get("mme-cognition")
    if p and c:
        scores["mme"] = PaperScore(round((p.value + c.value) / 28, 1), p.basis)
    return scores


@cache
def _tables() -> dict[str, dict[str, PaperScore]]:
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {size: {name: _parsed(value) for name, value in row.items()} for size, row in raw.items()}


def _parsed(value: object) -> PaperScore:
    found = re.fullmatch(r"([0-9.]+)([mls]?)", str(value))
    assert found, f"{FILE.name}: {value!r} is no number with a mark"
    return PaperScore(float(found[1]), SURE[found[2]])
