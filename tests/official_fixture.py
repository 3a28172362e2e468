"""Benchmarks in their official formats, tiny: ``official/<name>.py`` writes one; the walk reads all of them.

A module there has

    write(folder)     the official files into ``folder`` (the benchmark's own), at least 4 rows, pictures never square
    ALWAYS            constant answer → the primary number that arithmetic says it gets on these rows; has "" at least
    PERFECT           the primary number of perfect answers where it is not 100
    FILES             suffix of the table whose column the walk takes away, where there is one
"""

from __future__ import annotations

import base64
import csv
import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FOLDER = Path(__file__).parent / "official"


def official(name: str) -> ModuleType:
    """The writer of a benchmark."""
    return importlib.import_module(f"official.{name.replace('-', '_')}")


def written() -> list[str]:
    """Names of the benchmarks that have one."""
    return sorted(file.stem.replace("_", "-") for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))


def picture(seed: int = 0, width: int = 48, height: int = 32, kind: str = "PNG") -> bytes:
    """An encoded picture of noise, never square."""
    assert width != height
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def cell(seed: int = 0, width: int = 48, height: int = 32) -> dict[str, Any]:
    """A picture as Hugging Face parquet files hold it."""
    return {"bytes": picture(seed, width, height), "path": f"{seed}.png"}


def base64_picture(seed: int = 0, width: int = 48, height: int = 32) -> str:
    """A picture as VLMEvalKit's tables hold it."""
    return base64.b64encode(picture(seed, width, height, "JPEG")).decode()


def save_picture(path: Path, seed: int = 0, width: int = 48, height: int = 32) -> None:
    """A picture file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed, width, height, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"))


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table with a header line, cells quoted where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
