"""What the tests of ``mm15 data build NAME`` share: build, read back through the formats, small inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

from mm15.base.types import Sample
from mm15.build._sets import Request, build_set
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import Engine


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but what readers keep beside data."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".npz", ".idx")
    }


def build(name: str, out: Path, *inputs: Path, **asked: Any) -> dict[str, Any]:
    return build_set(name, out, Request(inputs, **{"engine": Engine(workers=1), **asked}))


def samples(folder: Path) -> dict[str, list[Sample]]:
    """Source → every sample; a row that a format refuses fails the test."""
    listed = yaml.safe_load((folder / "sources.yaml").read_text())["sources"]
    sources = [Source(SourceConfig.model_validate(one), folder) for one in listed]
    return {source.name: [source.sample(index) for index in range(len(source))] for source in sources}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def dropped(folder: Path) -> dict[str, list[str]]:
    """Reason → addresses."""
    found: dict[str, list[str]] = {}
    for row in rows(folder / "dropped.jsonl"):
        found.setdefault(row["reason"], []).append(row["address"])
    return found


def said(sample: Sample) -> list[str]:
    return [message.text for message in sample.messages]


def write_cut_out(path: Path, color: tuple[int, int, int], box: tuple[int, int, int, int] = (6, 4, 50, 34)) -> None:
    """A filled ellipse on a transparent ground of 60 x 40 px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse(box, fill=(*color, 255))
    picture.save(path)


def write_photo(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (320, 240)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, quality=95)


def write_page(path: Path, content: str, size: tuple[int, int]) -> None:
    """A PDF of one page with this content; font ``/F1`` is Helvetica."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF"
    path.write_bytes(data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode())


def texts_at(placed: Sequence[tuple[int, int, str]], size: int = 11) -> str:
    """Page content: texts at (x, y) points from the bottom left."""
    return f"BT /F1 {size} Tf {' '.join(f'1 0 0 1 {x} {y} Tm ({text}) Tj' for x, y, text in placed)} ET"
