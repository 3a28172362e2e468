"""Named cut-outs with transparency, and photographs to lay them on: shipped, or found in the user's folders.

A cut-out is ``NAME/*.png`` (or ``.webp``), or a picture beside a ``.txt`` whose first line says what it is ("A red
kangaroo.", the layout of Tux Paint's stamps). Photographs are JPEG files anywhere, and whatever lies in a folder
``photos`` or ``backgrounds``; without any, the shipped ones are used.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from mm15.base.errors import DataError, PictureError
from mm15.build._inputs import Found, held_out, take_files
from mm15.build._sets import Side
from mm15.build.canvas import trimmed, visible_box
from mm15.images.pixels import open_picture, picture_size
from mm15.text.legible import sayable

PHOTO_FOLDERS = {"photos", "backgrounds"}
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
MAX_NAME = 32
KEPT = 1024
"""Longest side in pixels that an opened photograph keeps in memory."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What scenes are made of on one side: files of every name, and photographs."""

    pictures: dict[str, tuple[Path, ...]]
    photos: tuple[Path, ...]

    @property
    def names(self) -> list[str]:
        return sorted(self.pictures)


def stock_of(side: Side) -> Stock:
    """Cut-outs and photographs of one side; files that cannot be used are dropped by name.

    Of a name with several pictures some are held out; of names with one picture, some names.

    Raises:
        DataError: under three names are left.
        ConfigError: no picture in the inputs.
    """
    materials, split = side.materials, side.split
    shipped_photos = tuple(materials.photo_files(split))
    if not side.request.inputs:
        found = {name: tuple(materials.picture_files(name, split)) for name in sorted(materials.facts)}
        return Stock({name: files for name, files in found.items() if files}, shipped_photos)
    named: dict[str, list[Found]] = {}
    photos: list[Found] = []
    files, dropped = take_files(side.request.inputs, SUFFIXES)
    told = list(dropped)
    for file in files:
        if _is_photo(file):
            try:
                picture_size(file.path.read_bytes(), str(file.path))
                photos.append(file)
            except PictureError as error:
                told.append((error.reason, str(file.path)))
            continue
        name, reason = name_of(file), defect_of(file.path)
        if reason or not sayable(name) or len(name) > MAX_NAME:
            told.append((reason or "no short name: put it into a folder of its name", str(file.path)))
        else:
            named.setdefault(name, []).append(file)
    if split == "train":
        side.drop_all(told)
    share, heldout = side.request.heldout, split == "heldout"
    single = [files[0].digest for files in named.values() if len(files) == 1]
    held = held_out(single, share) if len(single) > 1 else set()
    for files_of in named.values():
        held |= held_out((file.digest for file in files_of), share) if len(files_of) > 1 else set()
    pictures = {
        name: tuple(file.path for file in named[name] if (file.digest in held) == heldout) for name in sorted(named)
    }
    pictures = {name: paths for name, paths in pictures.items() if paths}
    if len(pictures) < 3:
        left = "".join(f"\n  - {at}: {reason}" for reason, at in told[:5])
        raise DataError(
            f"{len(pictures)} names with cut-outs on the {split} side, three are needed: NAME/*.png with a transparent "
            f"background, or pictures with a .txt beside them; found: {', '.join(pictures) or 'none'}"
            f"{f'; left out ({len(told)}):{left}' if left else ''}"
        )
    held_photos = held_out((file.digest for file in photos), share) if len(photos) > 1 else set()
    kept = tuple(file.path for file in photos if (file.digest in held_photos) == heldout)
    return Stock(pictures, kept or shipped_photos)


def _is_photo(file: Found) -> bool:
    folders = {part.lower() for part in Path(file.name).parent.parts} | {file.path.parent.name.lower()}
    return file.name.lower().endswith((".jpg", ".jpeg")) or bool(folders & PHOTO_FOLDERS)


def name_of(file: Found) -> str:
    """What a cut-out shows: the first line of the text beside it, else its folder."""
    beside = file.path.with_suffix(".txt")
    if beside.is_file():
        lines = beside.read_text(encoding="utf-8", errors="replace").splitlines()
        said = re.sub(r"^(?:an?|the) ", "", lines[0].strip().rstrip(".!"), flags=re.I) if lines else ""
        return said[:1].lower() + said[1:]
    return re.sub(r"[-_ ]+", " ", file.path.parent.name).strip().lower()


def defect_of(path: Path) -> str:
    """Why a picture is no cut-out; empty where it is one."""
    try:
        picture = open_cut_out(path)
    except PictureError as error:
        return error.reason
    box = visible_box(picture)
    if box is None:
        return "nothing to be seen: all of it is transparent"
    if min(box[2] - box[0], box[3] - box[1]) < 8:
        return "under 8 px wide or high"
    low, _ = picture.getchannel("A").getextrema()
    return "" if isinstance(low, int) and low < 64 else "no transparent background"


def open_cut_out(path: Path) -> Image.Image:
    """The picture as RGBA. Raises ``PictureError`` where it cannot be opened."""
    data = path.read_bytes()
    picture_size(data, str(path))
    try:
        return Image.open(io.BytesIO(data)).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"cannot be decoded: {error}", str(path)) from error


@lru_cache(maxsize=512)
def sticker_of(path: Path) -> Image.Image:
    """The cut-out, trimmed to what can be seen. Cached: do not change it in place."""
    return trimmed(open_cut_out(path))


@lru_cache(maxsize=48)
def photo_of(path: Path) -> Image.Image:
    """The photograph, upright RGB, at most 1024 px. Cached: do not change it in place."""
    photo = open_picture(path.read_bytes(), str(path))
    photo.thumbnail((KEPT, KEPT))
    return photo
