"""Small data sets on disk and a real processor for them: pictures, conversations, text."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm15.base.rng import numpy_rng
from mm15.data.source import SourceConfig
from mm15.images.split import SplitPolicy
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer


def small_processor(max_tokens: int = 400, **split: Any) -> Processor:
    """Tiles of 16 px, 4 tokens each; every character is a token."""
    policy = SplitPolicy(tile=16, **split)
    tokenizer = train_tokenizer(["abcdefghijklmnopqrstuvwxyz ABC.,?0123456789()\n"], SPECIALS)
    return Processor(ProcessorConfig(split=policy, tokens_per_tile=4, max_tokens=max_tokens), tokenizer)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_pictures(folder: Path, name: str, count: int, sized: bool = True) -> SourceConfig:
    """A llava source with one question about one picture per row."""
    (folder / "images").mkdir(exist_ok=True)
    rows = []
    for index in range(count):
        rng = numpy_rng(0, name, index)
        width, height = int(rng.integers(20, 70)), int(rng.integers(71, 90))
        file = f"images/{name}{index}.png"
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / file)
        turns = [
            {"from": "human", "value": f"<image>\nwhat is number {index}?"},
            {"from": "gpt", "value": "it is " + "x" * int(rng.integers(1, 40))},
        ]
        size = {"width": width, "height": height} if sized else {}
        rows.append({"image": file, **size, "conversations": turns})
    write_rows(folder / f"{name}.jsonl", rows)
    return SourceConfig.model_validate(
        {"name": name, "path": f"{name}.jsonl", "format": "llava", "category": "general"}
    )


def write_texts(folder: Path, name: str, count: int) -> SourceConfig:
    """A text source; row k starts with 'document k'."""
    lengths = numpy_rng(0, name).integers(1, 120, count)
    write_rows(folder / f"{name}.jsonl", ({"text": f"document {k} " + "y" * int(n)} for k, n in enumerate(lengths)))
    return SourceConfig.model_validate(
        {"name": name, "path": f"{name}.jsonl", "format": "text", "category": "text_only"}
    )


def write_tar(path: Path, members: list[tuple[str, bytes]], **how: Any) -> Path:
    """An uncompressed tar of (name, data)."""
    with tarfile.open(path, "w", **how) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
