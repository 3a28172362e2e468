"""One row, looked at from all sides: its samples, every picture, every box, every text.

What makes a sample unusable is a fault. A note is what is used, but not as it stands in the file: a CMYK picture, a
picture that lies on its side, an animation of which one frame is seen.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mm15.base.errors import MissingExtra, SkipSample
from mm15.base.types import Box, ImagePart, MediaRef, RegionPart, Sample, TextPart, VideoPart
from mm15.clips import open_clip
from mm15.data.faults import Fault, fault
from mm15.data.source import Source
from mm15.datasets._canonical import sample_to_json
from mm15.images.pixels import PictureHeader, open_picture, picture_header, picture_size
from mm15.io.media import read_bytes
from mm15.text.regions import write_region

if TYPE_CHECKING:
    from mm15.processor import Processor  # heavy: most checks need no torch

MAX_PICTURES = 256
"""In one sample. More do not fit 4096 tokens even at 16 tokens for a picture."""
MAX_CLIP_BYTES = 4 << 30
ROW_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What a format raises on a row of another shape than it expects. All else is no matter of one row, and is raised."""
FRAMES = 3
"""Places in the program, innermost last, that are told of such an error."""
KEPT = 4096
"""Pictures whose outcome is remembered, because rows share them."""
TINY = 8
"""Sides below this many px are noted."""
NARROW = 50
"""A picture that is so many times longer than wide is noted."""
SUFFIXES = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "mpo"),
    "PNG": ("png", "apng"),
    "WEBP": ("webp",),
    "BMP": ("bmp", "dib"),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
}
FRAME_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


class Note(NamedTuple):
    """Something that is used, but not as it stands."""

    address: str
    kind: str
    detail: str


class Found(NamedTuple):
    """What was found in a row; ``digests`` are (key, digest) of its samples where they were asked for."""

    faults: list[Fault]
    notes: list[Note]
    samples: int
    pictures: int
    digests: list[tuple[str, str]]


class _Seen(NamedTuple):
    """The outcome of opening a picture."""

    size: tuple[int, int]
    notes: tuple[tuple[str, str], ...]
    reason: str


class Examiner:
    """Looks at rows. Small to send to another process.

    Args:
        decode: decode every picture, and frames at two moments of every film or animation; without, headers only.
        processor: also refuse what this one refuses by size (``max_tokens``).
        digests: give a digest of every good sample: of its parts, its meta and the bytes of its media.
        max_pictures: in one sample.
    """

    def __init__(
        self,
        decode: bool = True,
        processor: Processor | None = None,
        digests: bool = False,
        max_pictures: int = MAX_PICTURES,
    ) -> None:
        self.decode, self.processor, self.digests, self.max_pictures = decode, processor, digests, max_pictures
        self._seen: OrderedDict[MediaRef, _Seen] = OrderedDict()
        self._hashes: OrderedDict[MediaRef, str] = OrderedDict()
        self._films: dict[VideoPart, str] = {}

    def __reduce__(self) -> tuple[type[Examiner], tuple[bool, Processor | None, bool, int]]:
        return Examiner, (self.decode, self.processor, self.digests, self.max_pictures)

    def row(self, source: Source, number: int) -> Found:
        """All that is wrong with a row and all that is worth a note."""
        address = source.rows.address(number)
        faults: list[Fault] = []
        notes: list[Note] = []
        digests: list[tuple[str, str]] = []
        samples, reason = read_samples(source, number)
        if reason:
            faults.append(fault(source.name, address, reason, _as_written(source, number)))
        pictures = 0
        for k, sample in enumerate(samples):
            where = f"{address}/{k}" if source.many else address
            pictures += len(sample.images)
            reasons, told = self._sample(sample)
            notes += [Note(where, *note) for note in told]
            if reasons:
                row = _as_written(source, number)
                faults += [fault(source.name, where, reason, row) for reason in reasons]
            elif self.digests:
                digests.append((sample.key, self.digest(sample)))
        return Found(faults, notes, len(samples), pictures, digests)

    def digest(self, sample: Sample) -> str:
        """sha256 of a sample: source, category, parts, meta, and the bytes of its media in place of their address."""
        told = [sample.source, sample.category.value, sample_to_json(sample, self._hash)]
        return hashlib.sha256(json.dumps(told, ensure_ascii=True, sort_keys=True).encode()).hexdigest()

    def _hash(self, media: MediaRef) -> str:
        if media not in self._hashes:
            self._hashes[media] = _hash_of(media)
            if len(self._hashes) > KEPT:
                self._hashes.popitem(last=False)
        return self._hashes[media]

    def _sample(self, sample: Sample) -> tuple[list[str], list[tuple[str, str]]]:
        """(reasons why it cannot be used, notes as (kind, detail))."""
        images = sample.images
        if len(images) > self.max_pictures:
            # Not opened: that many pictures would be an attack on time.
            return [f"{len(images)} pictures in one sample, more than {self.max_pictures}"], []
        reasons: list[str] = []
        notes: list[tuple[str, str]] = []
        sizes = []
        for number, part in enumerate(images):
            seen = self._open(part.media)
            name = f"picture {number} ({part.media})"
            reason = seen.reason or _wrong_size(part, seen.size)
            if reason:
                reasons.append(f"{name}: {reason}")
            sizes.append((0, 0) if reason else seen.size)
            notes += [(kind, f"{name}: {detail}") for kind, detail in seen.notes]
        reasons += _region_faults(sample, sizes)
        reasons += _text_faults(sample)
        parts = [part for message in sample.messages for part in message.parts]
        reasons += [told for part in parts if isinstance(part, VideoPart) and (told := self._film(part, notes))]
        if self.processor and not reasons:
            try:
                self.processor.count(sample)
            except SkipSample as skip:
                reasons.append(skip.reason)
            except MissingExtra as error:
                notes.append(("clip that was not opened", str(error)))
        return reasons, notes

    def _film(self, part: VideoPart, notes: list[tuple[str, str]]) -> str:
        """Why a clip cannot be used; what is told of it is added to ``notes``."""
        reason = _clip_fault(part.media)
        if reason or not self.decode or Path(part.media.path).is_dir():
            return reason
        if part not in self._films:
            try:
                with open_clip(part) as clip:
                    list(clip.frames(2))
                self._films[part] = ""
                if clip.bad:
                    notes.append(("clip with damaged frames", f"clip {part.media}: one of 2: {clip.reasons[0]}"))
            except SkipSample as skip:
                self._films[part] = f"clip {part.media}: {skip.reason}"
            except MissingExtra as error:
                notes.append(("clip that was not opened", str(error)))
                return ""
        return self._films[part]

    def _open(self, media: MediaRef) -> _Seen:
        seen = self._seen.get(media)
        if seen is None:
            seen = _open(media, self.decode)
            if media.data is None:  # Pictures in hand are not met again.
                self._seen[media] = seen
                if len(self._seen) > KEPT:
                    self._seen.popitem(last=False)
        return seen


def read_samples(source: Source, number: int) -> tuple[list[Sample], str]:
    """The samples of a row, or the reason why there are none.

    Raises:
        Exception: not the row's doing, like a package that is not installed or a disk that fails.
    """
    try:
        samples = source.samples_of_row(number)
    except SkipSample as skip:
        return [], reason_of(skip, source.rows.address(number))
    except ROW_ERRORS as error:
        # The row may be to blame or the format, so it is told where in the format; training would stop here.
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        return [], f"the format failed on this row: {type(error).__name__}: {error} ({where})"
    if not source.many and len(samples) != 1:
        return [], f"format {source.config.format} makes {len(samples)} samples of this row, expected one"
    return samples, ""


def reason_of(skip: SkipSample, address: str) -> str:
    """Why a row at ``address`` is skipped, with the address of the medium if it is about one."""
    return f"{skip.reason} ({skip.address})" if skip.address not in ("", address) else skip.reason


def _as_written(source: Source, number: int) -> object:
    """The row for a report; its bytes where it cannot be read."""
    try:
        return source.rows.row(number)
    except SkipSample:
        shard, inner = source.shard_of(number)
        raw = getattr(shard, "row_bytes", None)
        return raw(inner) if raw else None


def _open(media: MediaRef, decode: bool) -> _Seen:
    try:
        data = read_bytes(media)
        if media.dpi:
            size, notes = picture_size(data, "it", media.frame, dpi=media.dpi), ()
        else:
            header = picture_header(data, "it", media.frame)
            size, notes = (header.width, header.height), tuple(_notes(header, media))
        if decode:
            image = open_picture(data, "it", media.frame, dpi=media.dpi)
            if image.size != size:
                return _Seen(size, notes, f"its header says {size[0]} x {size[1]} px, but it has {image.size}")
    except SkipSample as skip:
        return _Seen((0, 0), (), skip.reason)
    return _Seen(size, notes, "")


def _notes(header: PictureHeader, media: MediaRef) -> list[tuple[str, str]]:
    notes = []
    name = media.member or media.path
    suffix = Path(name).suffix.lower().lstrip(".")
    if suffix in {one for named in SUFFIXES.values() for one in named} - set(SUFFIXES.get(header.format, ())):
        notes.append(("suffix of another format", f"named .{suffix}, but it is {header.format}"))
    if header.mode == "CMYK":
        notes.append(("CMYK", "converted to RGB without its colour profile"))
    if header.depth > 8:
        notes.append(("16 bits a channel", "the high byte is used"))
    if header.transparent:
        palette = "palette with transparency" if header.mode == "P" else "transparency"
        notes.append((palette, "laid on white"))
    if header.several:
        notes.append(("several frames", "the first is used"))
    if header.orientation != 1:
        notes.append(("EXIF orientation", f"turned upright by orientation {header.orientation}"))
    short, long = sorted((header.width, header.height))
    if long < TINY:
        notes.append(("tiny", f"{header.width} x {header.height} px"))
    elif long >= NARROW * short:
        notes.append(("very narrow", f"{header.width} x {header.height} px"))
    return notes


def _wrong_size(part: ImagePart, size: tuple[int, int]) -> str:
    if part.width and (part.width, part.height) != size:
        return f"the row states {part.width} x {part.height} px, but the picture has {size[0]} x {size[1]}"
    return ""


def _region_faults(sample: Sample, sizes: list[tuple[int, int]]) -> list[str]:
    reasons = []
    for message in sample.messages:
        for part in message.parts:
            if not isinstance(part, RegionPart):
                continue
            region = part.region
            if not 0 <= region.image < len(sizes):
                kind = "box" if isinstance(region, Box) else "point"
                reasons.append(f"a {kind} is on picture {region.image} (from 0), but there are only {len(sizes)}")
            elif sizes[region.image] != (0, 0):
                try:
                    write_region(region, *sizes[region.image])
                except SkipSample as skip:
                    reasons.append(skip.reason)
    return reasons


def _text_faults(sample: Sample) -> list[str]:
    reasons = []
    for number, message in enumerate(sample.messages):
        for part in message.parts:
            if isinstance(part, TextPart):
                try:
                    part.text.encode()
                except UnicodeEncodeError as error:
                    reasons.append(f"turn {number}: half a surrogate pair at character {error.start}")
    said = (TextPart, RegionPart)
    if not any(
        message.trained and any(isinstance(part, said) for part in message.parts) for message in sample.messages
    ):
        reasons.append("nothing to train on: no turn with text is trained")
    return reasons


def _clip_fault(media: MediaRef) -> str:
    """Why a clip cannot be used. Frames in a folder are opened; a video file must be there and hold something."""
    path = Path(media.path)
    if media.path and not media.member and path.is_dir():
        frames = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in FRAME_ENDINGS)
        if not frames:
            return f"clip {media}: the folder holds no frames ({', '.join(FRAME_ENDINGS)})"
        reasons = ((frame, _open(MediaRef(str(frame)), decode=False).reason) for frame in frames)
        return next((f"clip {media}: frame {frame.name}: {reason}" for frame, reason in reasons if reason), "")
    if media.offset >= 0 or media.data is not None:
        size = media.size if media.data is None else len(media.data)
    elif path.is_file():
        size = path.stat().st_size
    else:
        return f"clip {media}: no such file or folder"
    return "" if size else f"clip {media}: empty: 0 bytes"


def _hash_of(media: MediaRef) -> str:
    path = Path(media.path)
    if media.path and not media.member and path.is_dir():
        told = [(file.name, _hash_of(MediaRef(str(file)))) for file in sorted(path.iterdir()) if file.is_file()]
        return hashlib.sha256(repr(told).encode()).hexdigest()
    return hashlib.sha256(read_bytes(media, max_bytes=MAX_CLIP_BYTES)).hexdigest()
