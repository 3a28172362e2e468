"""The layout of PDFA (pixparse/pdfa-eng-wds): what a page's record holds, and tar shards of PDFs with their records."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm15.build._page_parts import Parts, Rect, plain

SHARD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF and which of its pages (from 0) belong to this side."""

    path: Path
    key: str
    pages: tuple[int, ...]


def pdfa_page(parts: Parts) -> dict[str, Any]:
    """A page's record: boxes are left, top, width, height in shares of the page."""
    width, height = parts.size
    words: dict[str, list] = {"text": [], "bbox": [], "score": [], "line_pos": []}
    lines: dict[str, list] = {"text": [], "bbox": [], "score": [], "word_slice": []}
    for line in parts.lines:
        shown = [word for word in line if plain([word])]
        if not shown:
            continue
        start = len(words["text"])
        for place, word in enumerate(shown):
            words["text"].append(plain([word]))
            words["bbox"].append(_ltwh(parts.box([word]), width, height))
            words["score"].append(1.0)
            words["line_pos"].append([len(lines["text"]), place])
        lines["text"].append(plain(shown))
        lines["bbox"].append(_ltwh(parts.box(shown), width, height))
        lines["score"].append(1.0)
        lines["word_slice"].append([start, len(words["text"])])
    return {"words": words, "lines": lines, "images_bbox": [], "images_bbox_no_text_overlap": []}


def _ltwh(box: Rect, width: float, height: float) -> list[float]:
    x1, y1, x2, y2 = box
    return [round(x1 / width, 5), round(y1 / height, 5), round((x2 - x1) / width, 5), round((y2 - y1) / height, 5)]


class ShardWriter:
    """Tar shards of PDFs and their json, in the order they come; a shard ends at 256 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count, self.size = folder, 0, 0
        self.archive: tarfile.TarFile | None = None
        folder.mkdir()

    def add(self, document: Document, records: dict[int, dict[str, Any]]) -> None:
        """One document; pages without a record are empty, which readers pass over."""
        empty = {"words": {"text": [], "bbox": []}, "lines": {"text": [], "bbox": []}}
        pages = [records.get(page, empty) for page in range(max(records) + 1)]
        if self.archive is None or self.size > SHARD_BYTES:
            self.close()
            self.archive = tarfile.TarFile(self.folder / f"{self.count:05d}.tar", "w", format=tarfile.USTAR_FORMAT)
            self.count, self.size = self.count + 1, 0
        members = {"pdf": document.path.read_bytes(), "json": json.dumps({"pages": pages}).encode()}
        for suffix, data in members.items():
            info = tarfile.TarInfo(f"{document.key}.{suffix}")
            info.size = len(data)
            self.size += len(data)
            self.archive.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        """Finish the open shard."""
        if self.archive:
            self.archive.close()
            self.archive = None
