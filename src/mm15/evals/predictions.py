"""Answers on disk: appended as they come, whole at the end, never asked twice.

While an evaluation runs, every rank appends to ``predictions/<benchmark>.<rank>of<world>.part``; when all questions of
the benchmark are answered, they become ``predictions/<benchmark>.jsonl`` in the order of the items. What a killed run
left behind is kept: a later one, on any number of ranks, asks only what is missing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mm15.base.errors import DataError
from mm15.io.atomic import write_atomic


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered question, with everything needed to score it again."""

    key: str
    """Of the item."""
    prompt: str
    prompt_hash: str
    """Of the tokens and tiles the model saw."""
    answer: str
    references: tuple[str, ...]
    tokens: int
    """Tokens of the prompt and the answer together."""
    stop_reason: str
    task: str = ""
    group: str = ""
    """Of the item: what it shares with others."""
    decode: str = ""
    """How the answer was drawn."""
    error: str = ""
    """Why there is no answer (an unreadable picture); such an item is wrong and stays in n."""
    replies: tuple[str, ...] = ()
    """What the judge said, for judged benchmarks."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metric → value of this item; filled in by scoring."""
    scorer: str = ""
    """Version of the code that gave the scores."""


class Answers:
    """The answers of one evaluation.

    Args:
        out: its folder; None keeps them in memory.
    """

    def __init__(self, out: Path | None) -> None:
        self._folder = out / "predictions" if out else None
        self._memory: dict[str, list[Prediction]] = {}
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)

    def add(self, benchmark: str, predictions: Sequence[Prediction], rank: int = 0, world: int = 1) -> None:
        """Append answers; on return they are on disk."""
        if self._folder is None:
            self._memory.setdefault(benchmark, []).extend(predictions)
            return
        with (self._folder / f"{benchmark}.{rank}of{world}.part").open("ab") as file:
            file.write(b"".join(_line(kept) for kept in predictions))
            file.flush()
            os.fsync(file.fileno())

    def kept(self, benchmark: str) -> dict[str, Prediction]:
        """Item key → answer, of all that is there.

        Raises:
            DataError: a file is not what this class writes, but for a last line that was cut off.
        """
        if self._folder is None:
            return {kept.key: kept for kept in self._memory.get(benchmark, [])}
        files = [self._folder / f"{benchmark}.jsonl", *self._parts(benchmark)]
        return {kept.key: kept for file in files if file.is_file() for kept in _read(file)}

    def whole(self, benchmark: str, predictions: Sequence[Prediction]) -> None:
        """All answers of a benchmark, in the order of its items: replaces the file atomically, then the parts go."""
        if self._folder is None:
            self._memory[benchmark] = list(predictions)
            return
        write_atomic(self._folder / f"{benchmark}.jsonl", b"".join(_line(kept) for kept in predictions))
        for part in self._parts(benchmark):
            part.unlink()

    def _parts(self, benchmark: str) -> list[Path]:
        assert self._folder is not None
        return sorted(self._folder.glob(f"{benchmark}.*of*.part"))


def check_once(benchmark: str, answered: Iterable[str], asked: Iterable[str]) -> None:
    """Every question has exactly one answer, and every answer its question.

    Raises:
        DataError: naming the first five that are not so.
    """
    questions, answers = Counter(asked), Counter(answered)
    wrong = sorted(key for key in questions | answers if questions[key] != 1 or answers[key] != 1)
    if wrong:
        shown = ", ".join(f"{key} (asked {questions[key]}, answered {answers[key]} times)" for key in wrong[:5])
        raise DataError(f"{benchmark}: {len(wrong)} questions were not answered exactly once: {shown}")


def _line(prediction: Prediction) -> bytes:
    return json.dumps(asdict(prediction), ensure_ascii=False).encode() + b"\n"


_FIELDS = {entry.name for entry in fields(Prediction)}
_TUPLES = ("references", "replies")


def _read(file: Path) -> Iterable[Prediction]:
    lines = file.read_bytes().split(b"\n")
    if lines[-1] and file.suffix != ".part":
        raise DataError(f"{file}: the last line is cut off; remove the file and answer again with --resume")
    if lines[-1]:
        # Cut off by a kill: forgotten, so that the next line begins on its own.
        os.truncate(file, file.stat().st_size - len(lines[-1]))
    for number, line in enumerate(lines[:-1], 1):
        try:
            row: dict[str, Any] = json.loads(line)
            if row.keys() != _FIELDS:
                raise ValueError(f"fields {', '.join(sorted(row.keys() ^ _FIELDS))} differ from those of this version")
            yield Prediction(**{**row, **{name: tuple(row[name]) for name in _TUPLES}})
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{file}:{number}: not an answer ({error}); remove the file and answer again") from error
