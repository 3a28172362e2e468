"""10,000 samples in three sources, whole or with 500 faults put into them, each of a known kind at a known row."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from mm15.base.rng import numpy_rng

TURNS, BOXES, SHARDS, SHARD_ROWS = 7000, 1000, 8, 250
ROWS = TURNS + BOXES + SHARDS * SHARD_ROWS
PICTURES = 30
"""Different healthy pictures that the rows of the first two sources share."""


def encoded(form: str, width: int = 33, height: int = 21, mode: str = "RGB", seed: int = 0, **how: Any) -> bytes:
    """A picture of noise; formats without loss keep every pixel."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (height, width) if channels == 1 else (height, width, channels)
    pixels = numpy_rng(0, "bad data", seed).integers(0, 255, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    if mode in ("F", "I;16"):
        Image.fromarray(pixels.astype(np.float32 if mode == "F" else np.uint16)).save(buffer, form, **how)
    else:
        Image.frombytes(mode, (width, height), pixels.tobytes()).save(buffer, form, **how)
    return buffer.getvalue()


def bomb(side: int = 13_000) -> bytes:
    """A PNG whose header promises 169 megapixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def odd_pictures() -> dict[str, tuple[bytes, str]]:
    """File name → (bytes, the note that is due): unusual pictures that are read all the same."""
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.new("P", (23, 31))
    palette.putpalette([10, 200, 30] * 256)
    see_through, moving = io.BytesIO(), io.BytesIO()
    palette.save(see_through, "PNG", transparency=0)
    frames = [Image.new("RGB", (20, 30), color) for color in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    return {
        "cmyk.jpg": (encoded("JPEG", mode="CMYK"), "CMYK"),
        "deep.png": (encoded("PNG", mode="I;16"), "16 bits a channel"),
        "palette.png": (see_through.getvalue(), "palette with transparency"),
        "moving.gif": (moving.getvalue(), "several frames"),
        "sideways.jpg": (encoded("JPEG", exif=exif), "EXIF orientation"),
        "dot.png": (encoded("PNG", 1, 1), "tiny"),
        "tall.png": (encoded("PNG", 1, 20_000), "very narrow"),
        "wide.png": (encoded("PNG", 20_000, 1), "very narrow"),
        "other.jpg": (encoded("PNG"), "suffix of another format"),
    }


def bad_pictures() -> dict[str, tuple[bytes, str]]:
    """File name → (bytes, kind of fault)."""
    jpeg, png = encoded("JPEG", 64, 48), encoded("PNG", 64, 48)
    return {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "damaged picture"),
        "cut.png": (png[: len(png) // 2], "damaged picture"),
        "head.jpg": (jpeg[:200], "damaged picture"),
        "empty.jpg": (b"", "empty file"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "web page in place of a picture"),
        "text.png": (b"not a picture at all", "not a picture"),
        "bomb.png": (bomb(), "picture too large"),
        "long.png": (encoded("PNG", 1, 40_000), "picture too large"),
        "broad.png": (encoded("PNG", 40_000, 1), "picture too large"),
        "float.tif": (encoded("TIFF", mode="F"), "unknown range of pixels"),
    }


def turns_row(number: int) -> dict[str, Any]:
    """A healthy row of the first source."""
    turns = [
        {"from": "human", "value": f"<image>\nWhat is number {number}?"},
        {"from": "gpt", "value": f"It is thing {number}."},
    ]
    return {"id": number, "image": f"pictures/{number % PICTURES}.png", "conversations": turns}


def boxes_row(number: int) -> dict[str, Any]:
    """A healthy row of the second source."""
    turns = [
        {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
        {"from": "gpt", "value": f"Thing {number}."},
    ]
    box = [number % 10, 2.5, number % 10 + 11, 18]
    return {
        "image": f"pictures/{number % PICTURES}.png",
        "image_w": 33,
        "image_h": 21,
        "conversations": turns,
        "box_x1y1x2y2": [[box], []],
    }


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


def _said(row: dict[str, Any], turn: int, text: str) -> bytes:
    row["conversations"][turn]["value"] = text
    return _line(row)


Damage = Callable[[dict[str, Any]], bytes]

LINES: dict[str, tuple[Damage, str]] = {
    **{
        name: (lambda row, name=name: _line(row | {"image": f"bad/{name}"}), kind)
        for name, (_, kind) in bad_pictures().items()
    },
    "missing": (lambda row: _line(row | {"image": "pictures/none.png"}), "file missing"),
    "up": (lambda row: _line(row | {"image": "../../secret.png"}), "unsafe path"),
    "absolute": (lambda row: _line(row | {"image": "/etc/passwd"}), "unsafe path"),
    "address": (lambda row: _line(row | {"image": "https://example.org/a.png"}), "only a network address"),
    "not UTF-8": (lambda row: _line(row).replace(b"thing", b"th\xefng"), "not UTF-8"),
    "cut line": (lambda row: _line(row)[:-9], "not valid JSON"),
    "array": (lambda row: b"[" + _line(row) + b"]", "not an object"),
    "twice": (lambda row: _line(row)[:-1] + b', "image": "pictures/1.png"}', "field twice"),
    "empty answer": (lambda row: _said(row, 1, " \n"), "says nothing"),
    "no placeholder": (lambda row: _said(row, 0, "What is it?"), "placeholders and pictures differ"),
    "two placeholders": (lambda row: _said(row, 0, "<image><image>\nWhat?"), "placeholders and pictures differ"),
    "half a character": (lambda row: _said(row, 1, "broken \ud83d here"), "text is not Unicode"),
    "no turns": (lambda row: _line(row | {"conversations": []}), "no turns"),
    "order": (lambda row: _line(row | {"conversations": row["conversations"][::-1]}), "turns out of order"),
    "role": (lambda row: _line(row | {"conversations": [{"from": "cat", "value": "Meow"}]}), "unknown role"),
    "no text": (lambda row: _line(row | {"conversations": [{"from": "human"}]}), "turn without text"),
    "wrong size": (lambda row: _line(row | {"width": 21, "height": 33}), "wrong size stated"),
    "no size": (lambda row: _line(row | {"width": -1, "height": 21}), "sizes are no sizes"),
    "400 pictures": (
        lambda row: _said(row | {"image": [row["image"]] * 400}, 0, "<image>" * 400 + "How many?"),
        "too many pictures",
    ),
}  # fmt: skip
"""What can be done to a line of the first source, and the kind of fault that it is."""

BOX: dict[str, tuple[Any, str]] = {
    "NaN": ([float("nan"), 2, 11, 18], "box inverted, empty or outside"),
    "negative": ([-5, 2, 11, 18], "box inverted, empty or outside"),
    "inverted": ([11, 18, 1, 2], "box inverted, empty or outside"),
    "outside": ([1, 2, 90, 18], "box inverted, empty or outside"),
    "three numbers": ([1, 2, 11], "box is no box"),
}

MEMBERS = {
    "link": "tar: link",
    "hard link": "tar: link",
    "device": "tar: device or pipe",
    "parent": "tar: unsafe name",
    "absolute": "tar: unsafe name",
    "twice": "tar: member twice",
    "bomb": "tar: sparse member",
    "no suffix": "tar: member without suffix",
    "empty picture": "empty file",
    "caption not UTF-8": "not UTF-8",
    "empty caption": "says nothing",
    "no caption": "says nothing",
}
"""What can be done to a row of a shard, once in every shard. At the end: ``CUT`` of the first half of the shards is cut
off, in those of the second half the last row's headers are overwritten."""


class Injected:
    """A folder with the data; ``faults`` is (source, row) → kind, ``odd`` (source, row) → note."""

    def __init__(self, folder: Path, faulty: bool) -> None:
        self.folder = folder
        self.faults: dict[tuple[str, int], str] = {}
        self.odd: dict[tuple[str, int], str] = {}
        self.faulty = faulty
        for below in ("pictures", "bad", "pairs"):
            (folder / below).mkdir(parents=True)
        for number in range(PICTURES):
            (folder / f"pictures/{number}.png").write_bytes(encoded("PNG", seed=number))
        for name, (data, _) in {**odd_pictures(), **bad_pictures()}.items():
            (folder / ("odd" if name in odd_pictures() else "bad")).mkdir(exist_ok=True)
            (folder / ("odd" if name in odd_pictures() else "bad") / name).write_bytes(data)
        self._turns()
        self._boxes()
        for shard in range(SHARDS):
            self._shard(shard)
        listed = [
            {"name": "turns", "path": "turns.jsonl", "format": "llava", "category": "general"},
            {"name": "boxes", "path": "boxes.jsonl", "format": "ferret-json", "category": "refer_ground"},
            {"name": "pairs", "path": "pairs/*.tar", "format": "wds-pairs", "category": "caption"},
        ]
        (folder / "sources.yaml").write_text(yaml.safe_dump(listed))

    def _turns(self) -> None:
        rng = numpy_rng(0, "where")
        rows = rng.permutation(TURNS).tolist()
        odd = {rows.pop(): name for name in odd_pictures() for _ in range(8)}
        plan: dict[int, str] = {rows.pop(): kind for kind in LINES for _ in range(11)}
        plan |= {rows.pop(): "cut.jpg" for _ in range(500 - 11 * len(LINES) - 12 * len(BOX) - 13 * SHARDS)}
        lines = []
        for number in range(TURNS):
            row = turns_row(number)
            if number in odd:
                row["image"] = f"odd/{odd[number]}"
                self.odd["turns", number] = odd_pictures_note(odd[number])
            damage, kind = LINES[plan[number]] if self.faulty and number in plan else (_line, "")
            if kind:
                self.faults["turns", number] = kind
            lines.append(damage(row))
        (self.folder / "turns.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def _boxes(self) -> None:
        rows = numpy_rng(0, "boxes").permutation(BOXES).tolist()
        plan = {rows.pop(): kind for kind in BOX for _ in range(12)}
        lines = []
        for number in range(BOXES):
            row = boxes_row(number)
            if self.faulty and number in plan:
                row["box_x1y1x2y2"], self.faults["boxes", number] = [[BOX[plan[number]][0]], []], BOX[plan[number]][1]
            lines.append(_line(row))
        (self.folder / "boxes.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def _shard(self, shard: int) -> None:
        rows = numpy_rng(0, "shard", shard).permutation(SHARD_ROWS - 1).tolist()
        plan = {rows.pop(): kind for kind in MEMBERS} if self.faulty else {}
        path = self.folder / f"pairs/{shard:03}.tar"
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for row in range(SHARD_ROWS):
                last = tar.offset
                key, what = f"{shard * SHARD_ROWS + row:06}", plan.get(row, "")
                write_pair(tar, key, what, encoded("PNG", 15, 12, seed=row))
                if what:
                    self.faults["pairs", shard * SHARD_ROWS + row] = MEMBERS[what]
            end = tar.offset
        if self.faulty:
            data = path.read_bytes()
            half = shard < SHARDS // 2
            path.write_bytes(data[: end - 512] if half else data[:last] + b"\x07" * (end - last) + data[end:])
            kind = "tar: member cut off" if half else "tar: damaged header"
            self.faults["pairs", (shard + 1) * SHARD_ROWS - 1] = kind


def odd_pictures_note(name: str) -> str:
    """The note that a picture of ``odd_pictures`` gets."""
    return odd_pictures()[name][1]


def write_pair(tar: tarfile.TarFile, key: str, what: str, picture: bytes) -> None:
    """A caption and a picture, or what is left of them. The picture is the last member, over one block long."""
    caption = {"caption not UTF-8": b"\xff\xfe caption", "empty caption": b" "}.get(what, f"caption {key}".encode())
    key = {"parent": f"../{key}", "absolute": f"/etc/{key}"}.get(what, key)
    if what != "no caption":
        _member(tar, f"{key}.txt", caption)
    name = key if what == "no suffix" else f"{key}.png"
    if what in ("link", "hard link", "device"):
        info = tarfile.TarInfo(name)
        info.type = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}[what]
        info.linkname = "" if what == "device" else "/etc/passwd"
        tar.addfile(info)
    elif what == "bomb":
        info = tarfile.TarInfo(name)
        info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[483:495] = b"77777777777\0"  # The size that it would have unpacked.
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        assert tar.fileobj is not None
        tar.fileobj.write(header)
        tar.offset += len(header)
    else:
        _member(tar, name, b"" if what == "empty picture" else picture)
        if what == "twice":
            _member(tar, name, picture)


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
