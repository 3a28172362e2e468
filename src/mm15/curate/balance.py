"""Concept balance: of many captions a set in which no concept crowds out the others.

Every caption names concepts: words and short phrases of a list, or those that the captions themselves use. Each concept
may keep about ``per_concept`` captions: those it has fewer of all stay, of the others each stays with probability
``per_concept / count``, and a caption stays if any of its concepts keeps it (the rule of MetaCLIP, 2309.16671; of MM1.5
it is known only that it filtered captions by concept). The draws depend on the seed, the caption's key and the concept:
a larger limit keeps all that a smaller one keeps, and the order of the captions does not matter.

Legend: N captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mm15.base.errors import ConfigError
from mm15.base.rng import seed_of

LONGEST = 3
"""Words of the longest phrase that is looked for."""
COMMON = 2
"""Captions that must use a word or pair before it is a concept of its own accord."""
_STOP_WORDS = """
    a about above across after against all along also an and another any are around as at away back be because been
    before behind being below beneath beside between both but by can close could did do does down each either else every
    few for from front had has have he her here him his how if in inside into is it its itself just left like many may
    more most much near next no nor not of off on one only onto or other others out outside over own part picture
    pictures photo photograph image images shows showing shown right seen see several she side so some such than that
    the their them then there these they thing things this those through to together top toward towards two under until
    up upon very visible was were what when where which while who whose will with within without you
"""
STOP = frozenset(_STOP_WORDS.split())
"""Words that are no concepts by themselves."""

Captions = Callable[[], Iterable[tuple[str, str]]]
"""Gives (key, caption) of every caption, from the start each time it is called."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """Which captions stay, in order, at most ``per_concept`` by a concept's own draws, and how often the most frequent
    concepts occur before and after."""

    kept: list[int]
    total: int
    concepts: int
    per_concept: float
    frequent: list[tuple[str, int, int]]

    def text(self) -> str:
        """The same for people."""
        lines = [f"{len(self.kept):,} of {self.total:,} captions stay; {self.concepts:,} concepts, "
                 f"limit {self.per_concept:,.0f} each"]  # fmt: skip
        lines += [f"  {name:<24} {before:>9,} -> {after:>9,}" for name, before, after in self.frequent]
        return "\n".join(lines)


def read_concepts(file: Path) -> list[str]:
    """Words and phrases, one a line; blank lines and lines that begin with # are left out.

    Raises:
        ConfigError: no such file, none in it, or phrases of more than ``LONGEST`` words.
    """
    if not file.is_file():
        raise ConfigError([f"no such file: {file}"], "--concepts")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    found = [" ".join(_words(line)) for line in lines if line and not line.startswith("#")]
    long = [phrase for phrase in found if len(phrase.split()) > LONGEST]
    if long or not any(found):
        why = f"phrases of more than {LONGEST} words: {', '.join(long[:5])}" if long else "no words in it"
        raise ConfigError([f"{file}: {why}"], "--concepts")
    return sorted({phrase for phrase in found if phrase})


def own_concepts(captions: Captions, common: int = COMMON) -> list[str]:
    """Words and pairs of neighbouring words, none of them in ``STOP``, that at least ``common`` captions use."""
    counts: Counter[str] = Counter()
    for _, caption in captions():
        words = _words(caption)
        said = {word for word in words if len(word) > 2 and word not in STOP}
        pairs = {f"{a} {b}" for a, b in pairwise(words) if a not in STOP and b not in STOP}
        counts.update(said | pairs)
    return sorted(name for name, count in counts.items() if count >= common)


def concepts_of(caption: str, known: frozenset[str]) -> list[str]:
    """The known concepts that a caption names, each once, sorted."""
    words = _words(caption)
    found = {
        phrase
        for length in range(1, LONGEST + 1)
        for start in range(len(words) - length + 1)
        if (phrase := " ".join(words[start : start + length])) in known
    }
    return sorted(found)


def balance(
    captions: Captions,
    per_concept: float = 0,
    keep: int = 0,
    concepts: Sequence[str] | None = None,
    seed: int = 0,
    show: int = 10,
) -> Balanced:
    """Choose captions.

    Args:
        captions: walked two or three times; only numbers are held in memory.
        per_concept: the limit; or
        keep: about how many captions shall stay in all; the limit follows (captions at the limit's edge all stay).
            Neither: every caption that names a concept stays.
        concepts: what to look for; by default ``own_concepts``.
        seed: of the draws.
        show: how many of the most frequent concepts to report.

    Raises:
        ConfigError: both limits, or one below 0.
    """
    if per_concept < 0 or keep < 0 or (per_concept and keep):
        raise ConfigError(["give per_concept or keep, and 0 or more"], "balance")
    known = frozenset(own_concepts(captions) if concepts is None else concepts)
    counts: Counter[str] = Counter()
    total = 0
    for _, caption in captions():
        counts.update(concepts_of(caption, known))
        total += 1
    # A concept keeps a caption where draw < limit / count: from the limit draw * count on. The least of them decides.
    needed_N = np.full(total, np.inf)
    for number, (key, caption) in enumerate(captions()):
        for name in concepts_of(caption, known):
            needed_N[number] = min(needed_N[number], _draw(seed, key, name) * counts[name])
    named = int(np.isfinite(needed_N).sum())
    limit = float(per_concept) if per_concept else float(max(counts.values(), default=0))
    if keep and keep < named:
        limit = float(np.nextafter(np.partition(needed_N, keep - 1)[keep - 1], np.inf))
    kept_N = needed_N < limit
    after: Counter[str] = Counter()
    for number, (_, caption) in enumerate(captions()):
        if kept_N[number]:
            after.update(concepts_of(caption, known))
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:show]
    table = [(name, count, after[name]) for name, count in frequent]
    return Balanced(np.flatnonzero(kept_N).tolist(), total, len(counts), limit, table)


def _draw(seed: int, key: str, name: str) -> float:
    """Uniform in [0, 1)."""
    return seed_of(seed, "balance", key, name) / (1 << 63)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())
