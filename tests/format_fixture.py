"""Data files in the forms that published data sets have: tars, Parquet, multi-frame tiffs, PDFs. Made by the tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from mm15.base.catalogue import lookup
from mm15.base.errors import SkipSample
from mm15.base.types import Category, Part, RegionPart, Sample, TextPart
from mm15.datasets._context import RowContext, read_options
from mm15.datasets._selected import fitting, selected
from mm15.io.rows import Rows, open_rows


def picture(width: int = 30, height: int = 20, color: Any = "red", form: str = "PNG", mode: str = "RGB", **how: Any):
    """An encoded picture of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height), color).save(buffer, form, **how)
    return buffer.getvalue()


def tiff(*sizes: tuple[int, int], mode: str = "RGB") -> bytes:
    """A multi-frame tiff; frame k is filled with the value 10 * (k + 1)."""
    color = {"1": lambda k: k % 2, "CMYK": lambda k: (0, 0, 0, 10 * (k + 1))}.get(mode, lambda k: (10 * (k + 1),) * 3)
    frames = [Image.new(mode, size, color(k)) for k, size in enumerate(sizes)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def pdf(*pages: str, size: tuple[int, int] = (300, 200), extra: str = "") -> bytes:
    """A PDF with one line of Helvetica a page, at 20 points from the left and 150 from the bottom.

    Args:
        extra: further entries of every page's dictionary, like ``/Rotate 90``.
    """
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{4 + 2 * k} 0 R' for k in range(len(pages)))}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        drawn = f"BT /F1 18 Tf 20 150 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Contents {5 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> {extra} >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    data, places = "%PDF-1.4\n", []
    for number, entry in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{entry}\nendobj\n"
    start = len(data)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
    return f"{data}<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def write_tar(path: Path, members: Mapping[str, bytes | str]) -> Path:
    """A tar of these members, in this order."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: Any = None) -> Path:
    """A Parquet file of these rows."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), path, row_group_size=2)
    return path


IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
"""The type of a picture in Parquet files of Hugging Face."""


class Opened:
    """The rows of a file in a format, as a source would open them."""

    def __init__(self, name: str, path: Path, category: Category = Category.GENERAL, store: Any = None, **options: Any):
        self.format = lookup("mm15.datasets", name, "format")
        self.options = read_options(self.format, options)
        opener = getattr(self.format, "open_rows", None)
        self.rows: Rows = opener(path, self.options) if opener else open_rows(path)
        if where := getattr(self.options, "where", {}):
            self.rows = selected(self.rows, fitting(self.rows, where, range(len(self.rows))), where)
        self.root, self.category, self.store = str(path.parent), category, store

    def samples(self, number: int = 0) -> list[Sample]:
        context = RowContext("set", self.category, f"set/{number}", self.root, self.options, self.store)
        return self.format.to_samples(self.rows.row(number), context)

    def sample(self, number: int = 0) -> Sample:
        (sample,) = self.samples(number)
        return sample

    def refused(self, number: int = 0) -> str:
        with pytest.raises(SkipSample) as caught:
            self.samples(number)
        return caught.value.reason


def made(name: str, row: dict[str, Any], category: Category = Category.GENERAL, root: Any = "/data", **options: Any):
    """The one sample of a row in hand."""
    module = lookup("mm15.datasets", name, "format")
    context = RowContext("set", category, "set/0", str(root), read_options(module, options))
    (sample,) = module.to_samples(row, context)
    return sample


def refused(name: str, row: dict[str, Any], category: Category = Category.GENERAL, **options: Any) -> str:
    """Why a row is refused."""
    with pytest.raises(SkipSample) as caught:
        made(name, row, category, **options)
    return caught.value.reason


def told(parts: Sequence[Part]) -> list[Any]:
    """Parts as plain values: texts, regions, and the names of pictures and clips."""
    return [
        part.text
        if isinstance(part, TextPart)
        else part.region
        if isinstance(part, RegionPart)
        else f"<{part.media.path.rpartition('/')[2]}{part.media.member and ':' + part.media.member}>"
        for part in parts
    ]
