"""The real things data sets are built from, and which of them training may see.

Everything shipped lies in ``mm15/assets``: ``LICENSES.md`` there gives the origin and licence of each item,
``splits.yaml`` what is held out. Asked for "train", this module returns no held-out thing: no builder can leak one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from PIL import Image

from mm15.base.errors import ConfigError, MissingExtra
from mm15.base.rng import seed_of

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, Split] = ("train", "heldout")
STRIP_HEIGHT = 100
WORD_FOLDS = 10
"""One word in ten is held out, by its hash; so is one of the user's PDFs in ten, by the hash of its bytes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is true of a named object. ``about`` is a dictionary's definition of it."""

    kind: str
    legs: int
    flies: bool
    in_water: bool
    alive: bool
    about: str


@dataclass(frozen=True, slots=True)
class Table:
    """A small real table; cells are text exactly as in the CSV file."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Materials:
    """Shipped material plus, if given, a folder of the user's own PDFs. Everything is read when first asked for, once.

    Args:
        root: folder laid out like ``mm15/assets``; the shipped one by default.
        pdfs: a folder searched for ``*.pdf`` at any depth.

    Raises:
        ConfigError: a folder does not exist.
    """

    def __init__(self, root: Path | None = None, pdfs: Path | None = None) -> None:
        self.root = Path(root) if root else Path(__file__).resolve().parent.parent / "assets"
        self.user_pdfs = Path(pdfs) if pdfs else None
        missing = [
            f"no such folder: {folder}" for folder in (self.root, self.user_pdfs) if folder and not folder.is_dir()
        ]
        if missing:
            raise ConfigError(missing, "materials")
        self._pictures: dict[tuple[str, Split], list[Image.Image]] = {}
        self._photos: dict[Split, list[Image.Image]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Worker processes get the two paths, not the pictures."""
        return Materials, (self.root, self.user_pdfs)

    @cached_property
    def holdouts(self) -> dict[str, Any]:
        """The parsed ``splits.yaml``."""
        return yaml.safe_load((self.root / "splits.yaml").read_text(encoding="utf-8"))

    @cached_property
    def facts(self) -> dict[str, Fact]:
        """Object name → what is true of it; covers seen and unseen names."""
        raw = yaml.safe_load((self.root / "facts.yaml").read_text(encoding="utf-8"))
        return {name: Fact(**values) for name, values in raw.items()}

    @cached_property
    def names(self) -> list[str]:
        """Names with training pictures, sorted."""
        return sorted(set(self.facts) - set(self.unseen_names))

    @cached_property
    def unseen_names(self) -> list[str]:
        """Names that occur in no training picture, sorted."""
        return sorted(self.holdouts["unseen"])

    def picture_files(self, name: str, split: Split) -> list[Path]:
        """Files of one named object, one per drawing style. All of an unseen name's are held out."""
        held = self.holdouts["pictures"].get(name, [])
        files = sorted((self.root / "pictures" / name).glob("*.png"))
        if name in self.unseen_names:
            return files if split == "heldout" else []
        return [file for file in files if (file.stem in held) == (split == "heldout")]

    def pictures(self, name: str, split: Split) -> list[Image.Image]:
        """Cut-outs of one named object: RGBA, trimmed to what is drawn, longest side 96 px."""
        if (name, split) not in self._pictures:
            self._pictures[name, split] = [_open(file, "RGBA") for file in self.picture_files(name, split)]
        return self._pictures[name, split]

    def photo_files(self, split: Split) -> list[Path]:
        """JPEG files of one side."""
        return self._side(sorted((self.root / "photos").glob("*.jpg")), "photos", split)

    def photos(self, split: Split) -> list[Image.Image]:
        """Photographs: RGB, longest side at most 320 px."""
        if split not in self._photos:
            self._photos[split] = [_open(file, "RGB") for file in self.photo_files(split)]
        return self._photos[split]

    def fonts(self, split: Split) -> list[Path]:
        """Font files (basic Latin only); no family is on both sides."""
        return self._side(sorted((self.root / "fonts").glob("*.?tf")), "fonts", split)

    def icon_files(self, split: Split) -> list[Path]:
        """Sets of icons, one drawing of every icon each; no set is on both sides."""
        return self._side(sorted((self.root / "icons").glob("*.json")), "icons", split)

    def icons(self, file: Path) -> dict[str, str]:
        """The drawings of a set: name → SVG element."""
        return json.loads(file.read_text(encoding="utf-8"))

    def clip_files(self, split: Split) -> list[Path]:
        """Short real films of one side."""
        return self._side(sorted((self.root / "clips").glob("*.mp4")), "clips", split)

    def footage_side(self, name: str) -> Split | None:
        """The side of a film by its name or path, where ``splits.yaml`` knows the footage.

        What is held out is recognised in any longer name (``Big_Buck_Bunny_720p``), the rest by the whole name only.
        """
        parts = [re.sub("[^a-z0-9]", "", part.lower()) for part in Path(name).with_suffix("").parts]
        footage = self.holdouts.get("footage", {})
        if any(known in part for known in footage.get("heldout", ()) for part in parts):
            return "heldout"
        return "train" if parts and parts[-1] in footage.get("train", ()) else None

    def strip_files(self, split: Split) -> list[Path]:
        """Frames of the same films at 8 a second, ``STRIP_HEIGHT`` px high, one below the other in one JPEG file."""
        return self._side(sorted((self.root / "strips").glob("*.jpg")), "clips", split)

    @cached_property
    def _words(self) -> dict[Split, list[str]]:
        words = (self.root / "words.txt").read_text(encoding="utf-8").split()
        return {split: [word for word in words if _fold(word) == split] for split in SPLITS}

    def words(self, split: Split) -> list[str]:
        """English words of 3 to 8 lower-case letters."""
        return self._words[split]

    @cached_property
    def _paragraphs(self) -> dict[Split, list[str]]:
        return {
            split: [
                paragraph
                for file in self._side(sorted((self.root / "texts").glob("*.txt")), "texts", split)
                for paragraph in file.read_text(encoding="utf-8").strip().split("\n\n")
            ]
            for split in SPLITS
        }

    def paragraphs(self, split: Split) -> list[str]:
        """Prose paragraphs of 60 to 400 ASCII characters, in document order; no document is on both sides."""
        return self._paragraphs[split]

    @cached_property
    def _tables(self) -> dict[Split, list[Table]]:
        return {
            split: [
                _read_table(file) for file in self._side(sorted((self.root / "tables").glob("*.csv")), "tables", split)
            ]
            for split in SPLITS
        }

    def tables(self, split: Split) -> list[Table]:
        """Small real tables of at most 30 rows."""
        return self._tables[split]

    @cached_property
    def _pdf_pages(self) -> dict[Split, list[tuple[Path, int]]]:
        pages: dict[Split, list[tuple[Path, int]]] = {"train": [], "heldout": []}
        for name, ranges in self.holdouts["pdf"].items():
            for split in SPLITS:
                for first, last in ranges[split]:
                    pages[split] += [(self.root / "pdf" / f"{name}.pdf", page) for page in range(first, last + 1)]
        for file in sorted(self.user_pdfs.rglob("*.pdf")) if self.user_pdfs else []:
            split = _fold(hashlib.sha256(file.read_bytes()).hexdigest())
            pages[split] += [(file, page) for page in range(_page_count(file))]
        return pages

    def pdf_pages(self, split: Split) -> list[tuple[Path, int]]:
        """(file, page counted from 0) of every page of one side: shipped PDFs by page ranges, the user's whole.

        Raises:
            MissingExtra: the user gave PDFs, but pypdfium2 is not installed.
        """
        return self._pdf_pages[split]

    def _side(self, files: Sequence[Path], what: str, split: Split) -> list[Path]:
        held = set(self.holdouts[what])
        return [file for file in files if (file.stem in held) == (split == "heldout")]


def _fold(text: str) -> Split:
    return "heldout" if seed_of(0, "fold", text) % WORD_FOLDS == 0 else "train"


def _open(file: Path, mode: str) -> Image.Image:
    return Image.open(io.BytesIO(file.read_bytes())).convert(mode)


def _read_table(file: Path) -> Table:
    with file.open(newline="", encoding="utf-8") as stream:
        columns, *rows = (tuple(row) for row in csv.reader(stream))
    return Table(file.stem.replace("-", " "), columns, tuple(rows))


def _page_count(file: Path) -> int:
    """Pages of a PDF; 0, with a warning that names it, for a file that cannot be opened."""
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra("pypdfium2", "pdf", "Reading your PDFs") from error
    try:
        with pypdfium2.PdfDocument(file) as document:
            return len(document)
    except pypdfium2.PdfiumError as error:
        warnings.warn(f"{file}: left out, not a readable PDF ({error})", stacklevel=2)
        return 0
