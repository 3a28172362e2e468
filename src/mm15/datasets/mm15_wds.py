"""Our own shards, as ``mm15 data convert`` writes them: tar files (WebDataset layout) of samples and their media.

A row is what one row of the converted data set became: ``json`` holds ``{"samples": [...]}`` (see ``_canonical``), and
every picture or clip is a member ``<number>.<ending>`` that the samples name. Samples come back as they were: parts,
boxes, meta and key, and the bytes of their media. ``index.json`` beside the shards says how many samples every row is.

Example rows:
{"__key__": "000000000", "0.jpg": "a.jpg", "json": {"samples": [{"messages": [
  {"role": "user", "trained": false, "parts": [{"image": "0.jpg", "width": 90, "height": 60}, {"text": "What is it?"}]},
  {"role": "assistant", "trained": true, "parts": [{"text": "A dog at "}, {"box": [1, 2, 30.5, 40], "image": 0}]}]}]}}
{"__key__": "000000001", "json": {"samples": [{"meta": {"id": 7}, "messages": [
  {"role": "document", "trained": true, "parts": [{"text": "Plain text."}]}]}]}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef, Sample
from mm15.datasets._canonical import sample_from_json
from mm15.datasets._context import RowContext
from mm15.io.rows import ConcatRows, find_files

MANY = True
INDEX = "index.json"
MAX_BYTES = 1 << 30


class Options(Strict):
    """Nothing to say: what there was to choose was chosen when the data set was converted."""


class Shards(ConcatRows):
    """The rows of shards."""

    @cached_property
    def samples_per_row(self) -> np.ndarray | None:
        """As their index says; None where there is none, or it is of other files."""
        return _from_index(self.files, len(self))

    def __reduce__(self) -> Any:
        return Shards, (self.files,)


def open_rows(path: Path, options: Options) -> Shards:
    """Rows of one shard, or of all shards of a folder or pattern.

    Raises:
        ConfigError: no shards there, or one that is no tar file.
    """
    return Shards(find_files(path / "*.tar" if path.is_dir() else path))


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """The samples that were written.

    Raises:
        SkipSample: damaged, or not written by ``mm15 data convert``; says where.
    """
    written = context.json(row.get("json"), MAX_BYTES)
    samples = written.get("samples") if isinstance(written, dict) else None
    if not isinstance(samples, list) or not samples:
        raise SkipSample("the json has no list 'samples'; was it written by mm15 data convert?")

    def find(name: str) -> MediaRef:
        if name not in row:
            raise SkipSample(f"no member '{name}'; members: {', '.join(field for field in row if field != '__key__')}")
        return context.media(row[name])

    return [
        sample_from_json(sample, find, context.source, context.category, f"{context.key}/{number}")
        for number, sample in enumerate(samples)
    ]


def _from_index(files: Sequence[Path], rows: int) -> np.ndarray | None:
    try:
        index = json.loads((files[0].parent / INDEX).read_bytes())
        shards = {shard["file"]: shard for shard in index["shards"]}
        counts: list[int] = []
        for file in files:
            shard = shards[file.name]
            if shard["bytes"] != file.stat().st_size:
                return None
            counts += shard["samples_per_row"] or [1] * shard["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return np.array(counts, np.int64) if len(counts) == rows else None
