"""The words of the house: messages, regions, samples.

Pixels never travel here: an image is a ``MediaRef`` (where it lies) until ``images`` opens it.
Regions are pixels of the *original* image (after EXIF orientation), x to the right, y down, xyxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """Who speaks. ``DOCUMENT`` is pre-training text without turns: no role tokens around it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    DOCUMENT = "document"


class Category(StrEnum):
    """What a sample teaches. MM1.5: six single-image categories, multi-image, text-only; and stages 1-2."""

    GENERAL = "general"
    TEXT_RICH = "text_rich"
    REFER_GROUND = "refer_ground"
    SCIENCE = "science"
    MATH = "math"
    CODE = "code"
    MULTI_IMAGE = "multi_image"
    TEXT_ONLY = "text_only"
    CAPTION = "caption"
    INTERLEAVED = "interleaved"
    TEXT = "text"
    OCR = "ocr"
    VIDEO = "video"
    UI = "ui"


@dataclass(frozen=True, slots=True)
class MediaRef:
    """Where a picture or clip lies. Exactly one of ``path`` and ``data`` is set.

    ``path`` is a file; ``member`` names a tar member inside it, or ``offset``/``size`` give its bytes directly;
    ``frame`` is a page of a PDF or a frame of a multi-frame image, counted from 0. ``data`` holds encoded image bytes.
    ``dpi`` above 0 says that the bytes are a PDF, and how finely its page is drawn; nothing else is opened as a PDF.
    """

    path: str = ""
    member: str = ""
    offset: int = -1
    size: int = -1
    frame: int = 0
    data: bytes | None = field(default=None, repr=False)
    dpi: int = 0

    def __str__(self) -> str:
        if self.data is not None:
            return f"<{len(self.data)} bytes>"
        where = f"{self.path}:{self.member}" if self.member else self.path
        return f"{where}#{self.frame}" if self.frame else where


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of image number ``image`` of the sample: 0 <= x1 < x2 <= width."""

    x1: float
    y1: float
    x2: float
    y2: float
    image: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels of image number ``image`` of the sample."""

    x: float
    y: float
    image: int = 0


Region = Box | Point


@dataclass(frozen=True, slots=True)
class TextPart:
    """Plain text. It can never become a special token."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One picture. ``width`` and ``height`` are of the oriented original; 0 means: read them from the header.

    Without ``split`` it is seen as a whole, in one tile, whatever the splitting rule says, and does not count towards
    the number of pictures up to which a sample is split: so the last pictures of a long prompt can be sharp (MM1,
    mixed-resolution few-shot).
    """

    media: MediaRef
    width: int = 0
    height: int = 0
    split: bool = True


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A clip, turned into ``frames`` pictures of a multi-image prompt (MM1.5-Video: 24 frames).

    ``media`` is a film, an animation, or a folder or tar of numbered pictures. ``start`` and ``end`` bound it in
    seconds; ``end`` 0: to its end. ``fps`` says how many of such pictures are a second; 0: not known.
    """

    media: MediaRef
    frames: int = 24
    start: float = 0.0
    end: float = 0.0
    fps: float = 0.0


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A box or point in the middle of text; written as coordinate text by ``text.regions`` only."""

    region: Region


Part = TextPart | ImagePart | VideoPart | RegionPart


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: parts in order, and whether its text is trained on."""

    role: Role
    parts: tuple[Part, ...]
    trained: bool = False

    @property
    def text(self) -> str:
        """The text parts joined, regions and images left out. For display and tests."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class Sample:
    """One example with its passport. ``key`` is dataset/shard/row and names the sample in every error and log."""

    key: str
    source: str
    category: Category
    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """All pictures of all turns in order; a region's ``image`` is an index into this tuple."""
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, ImagePart))


def user(*parts: Part | str) -> Message:
    """A user turn; plain strings become text parts."""
    return Message(Role.USER, _parts(parts))


def assistant(*parts: Part | str) -> Message:
    """An assistant turn that is trained on."""
    return Message(Role.ASSISTANT, _parts(parts), trained=True)


def document(*parts: Part | str) -> Message:
    """A pre-training document: all of its text is trained on, images stay in place."""
    return Message(Role.DOCUMENT, _parts(parts), trained=True)


def _parts(parts: tuple[Part | str, ...]) -> tuple[Part, ...]:
    return tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
