"""Ask a bundle about pictures and clips; the same walk that training and evaluation take.

>>> chat = Chat(load_bundle("bundle"))
>>> reply = chat.ask("What is []?", images=["street.jpg"], regions=[[40, 60, 210, 330]])
>>> chat.ask("Where is its shadow?", history=reply.messages).regions
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mm15.base.errors import ConfigError, DataError, MM15Error
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    Point,
    Region,
    RegionPart,
    Sample,
    TextPart,
    VideoPart,
    assistant,
    user,
)
from mm15.bundle import Bundle
from mm15.clips import open_clip
from mm15.generate.engine import Generation, stream
from mm15.generate.features import Features
from mm15.generate.sampling import Sampling
from mm15.images.draw import draw_regions
from mm15.images.pixels import open_picture, picture_size
from mm15.io.atomic import write_atomic
from mm15.io.media import read_bytes
from mm15.text.regions import FoundRegion, parse_regions

Picture = str | Path | bytes | Image.Image
"""A file name, the bytes of a picture file, or an open PIL image."""
Clip = str | Path | VideoPart
"""A file name or folder of frames, or a part that also says how many frames are seen and between which seconds."""
RegionLike = Region | Sequence[float]
"""A ``Box`` or ``Point``, or its four or two numbers in pixels of the picture that is asked about."""

_PLACEHOLDER = re.compile(r"<region>|\[\s*\]")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what it took.

    ``regions`` are the boxes and points in the text, in pixels of picture ``region.image`` of the conversation and as
    written (0-999). ``stop_reason`` is ``stop``, or ``length`` where ``max_new_tokens`` cut the answer off. ``tokens``
    counts prompt and answer, ``tiles`` the sub-images of all pictures. ``messages`` is the conversation so far: give
    it to the next question as ``history``.
    """

    text: str
    regions: tuple[FoundRegion, ...]
    stop_reason: str
    tokens: int
    tiles: int
    images: tuple[ImagePart, ...]
    messages: tuple[Message, ...]

    def annotated(self) -> Image.Image:
        """The picture that was asked about with the answer's regions drawn on it.

        Raises:
            DataError: the conversation has no picture.
        """
        if not self.images:
            raise DataError("there is no picture to draw on; ask about one with images=[...]")
        image = self.images[_current(self.messages)]
        media = image.media
        picture = open_picture(read_bytes(media), str(media), media.frame, dpi=media.dpi)
        return draw_regions(picture, [found.region for found in self.regions], [found.label for found in self.regions])

    def save_annotated(self, path: str | Path) -> Path:
        """Write ``annotated`` as a PNG file."""
        write_atomic(path, _png(self.annotated()))
        return Path(path)

    def to_json(self, annotated: Path | None = None) -> dict[str, Any]:
        """The reply as plain values, for programs."""
        return {
            "text": self.text,
            "regions": [
                {
                    "label": found.label,
                    "kind": "box" if isinstance(found.region, Box) else "point",
                    "pixels": [round(value, 2) for value in _numbers(found.region)],
                    "norm": list(found.norm),
                    "image": found.region.image,
                }
                for found in self.regions
            ],
            "stop_reason": self.stop_reason,
            "tokens": self.tokens,
            "tiles": self.tiles,
            "annotated": None if annotated is None else str(annotated),
        }


class Chat:
    """A bundle to talk to. Holds no conversation: a reply carries it; but what the encoder made of the pictures seen
    last is kept for the next question, so the bundle's weights must not change."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._features = Features(bundle.model)

    def ask(
        self,
        question: str,
        images: Iterable[Picture] = (),
        video: Clip | None = None,
        regions: Iterable[RegionLike] = (),
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        history: Sequence[Message] = (),
        min_p: float = 0.0,
        stop: Sequence[str] = (),
    ) -> Reply:
        """Ask one question.

        Args:
            question: regions stand where it says ``[]`` or ``<region>``, in order; those left over follow it.
            images: pictures, put in front of the question.
            video: a clip, put in front of the pictures: a film (extra ``video``), an animation, or a folder of frames;
                24 frames of it are seen, or what a ``VideoPart`` says.
            regions: boxes or points in pixels of the upright original. Plain numbers mean the first picture given
                here (or, without one, the last turn's); ``image`` of a ``Box`` or ``Point`` counts the pictures of the
                whole conversation from 0.
            history: ``messages`` of an earlier reply.
            min_p: as ``Sampling`` tells.
            stop: the answer ends before the first of these strings.

        Raises:
            PictureError: a picture or clip is refused.
            MissingExtra: a film, and PyAV is not installed.
            DataError: fewer regions than placeholders, a region without a picture or outside of it, or a conversation
                longer than the bundle's ``max_tokens``.
            ValueError: numbers out of range.
        """
        pieces = self.stream(
            question, images, video, regions, max_new_tokens, temperature, top_p, seed, history, min_p, stop
        )
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    def stream(
        self,
        question: str,
        images: Iterable[Picture] = (),
        video: Clip | None = None,
        regions: Iterable[RegionLike] = (),
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        history: Sequence[Message] = (),
        min_p: float = 0.0,
        stop: Sequence[str] = (),
    ) -> Generator[str, None, Reply]:
        """``ask``, piece by piece as the text appears; the generator returns the ``Reply``."""
        clips = () if video is None else (clip_part(video),)
        pictures = [picture_part(image) for image in images]
        messages = (*history, _question(question, clips, pictures, list(regions), history))
        sample = Sample("chat", "chat", Category.GENERAL, messages)
        encoded = self.bundle.processor.encode(sample, answering=True)
        answer = yield from stream(
            self.bundle.model,
            self.bundle.processor,
            encoded,
            max_new_tokens,
            Sampling(temperature, top_p, seed, min_p),
            stop,
            self._features,
        )
        tokens = encoded.num_tokens + len(answer.ids)
        return _reply(sample, answer, tokens, encoded.num_tiles)


def picture_part(image: Picture) -> ImagePart:
    """A picture as a part of a message, with its size.

    Raises:
        PictureError: it cannot be read or is refused; the message names it.
    """
    if isinstance(image, Image.Image):
        media = MediaRef(data=_png(ImageOps.exif_transpose(image)))
    else:
        media = MediaRef(data=image) if isinstance(image, bytes) else MediaRef(path=str(image))
    return ImagePart(media, *picture_size(read_bytes(media), str(media)))


def clip_part(video: Clip, frames: int = 24) -> VideoPart:
    """A clip as a part of a message.

    Raises:
        SkipSample: it cannot be opened, or is refused; the message names it.
        MissingExtra: a film, and PyAV is not installed.
    """
    part = video if isinstance(video, VideoPart) else VideoPart(MediaRef(path=str(video)), frames)
    with open_clip(part):
        return part


def parse_box(text: str) -> Box:
    """``x1,y1,x2,y2`` in pixels, as typed on a command line.

    Raises:
        ConfigError: it is not four numbers with x1 < x2 and y1 < y2.
    """
    numbers = re.findall(r"[^,\s\[\]()]+", text)
    try:
        x1, y1, x2, y2 = map(float, numbers)
    except ValueError:
        raise ConfigError([f"expected x1,y1,x2,y2 in pixels, found '{text}'"], "box") from None
    if not (x1 < x2 and y1 < y2):
        raise ConfigError([f"expected x1 < x2 and y1 < y2, found '{text}'"], "box")
    return Box(x1, y1, x2, y2)


def describe(found: FoundRegion) -> str:
    """A region on one line: its label and its pixels."""
    kind = "box" if isinstance(found.region, Box) else "point"
    pixels = ", ".join(f"{value:.0f}" for value in _numbers(found.region))
    return f"{found.label or kind}: {kind} ({pixels}) px of picture {found.region.image}"


NOTHING = "(nothing: the model ended its answer at once)"
"""What is shown of an empty answer."""

HELP = "Ask, or: /image FILE, /video FILE, /box x1,y1,x2,y2 (for the next question), /new (forget everything), /quit"


def talk(
    chat: Chat,
    images: Sequence[Picture] = (),
    annotated: Path | None = None,
    max_new_tokens: int = 256,
    video: Clip | None = None,
) -> None:
    """A conversation on the terminal, until /quit or the end of the input.

    Args:
        images, video: for the first question.
        annotated: where to write the picture with the regions of the last answer.
    """
    waiting: list[Picture] = list(images)
    clip = video
    boxes: list[RegionLike] = []
    history: tuple[Message, ...] = ()
    print(HELP)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        verb, _, rest = line.partition(" ")
        try:
            if verb == "/quit":
                return
            elif verb == "/new":
                waiting, clip, boxes, history = list(images), video, [], ()
            elif verb == "/image":
                picture_part(rest.strip())  # refused now rather than with the question
                waiting.append(rest.strip())
            elif verb == "/video":
                clip = clip_part(rest.strip())
            elif verb == "/box":
                box = parse_box(rest)
                boxes.append([box.x1, box.y1, box.x2, box.y2])
            elif verb.startswith("/"):
                print(HELP)
            elif line:
                reply = _spoken(chat.stream(line, waiting, clip, boxes, max_new_tokens, history=history))
                waiting, clip, boxes, history = [], None, [], reply.messages
                if not reply.text:
                    print(NOTHING)
                for found in reply.regions:
                    print(f"  {describe(found)}")
                if annotated and reply.regions:
                    print(f"  drawn: {reply.save_annotated(annotated)}")
        except MM15Error as error:
            print(f"mm15: {error}")


def _spoken(pieces: Generator[str, None, Reply]) -> Reply:
    while True:
        try:
            print(next(pieces), end="", flush=True)
        except StopIteration as end:
            print()
            return end.value


def _question(
    text: str,
    clips: Sequence[VideoPart],
    images: Sequence[ImagePart],
    regions: Sequence[RegionLike],
    history: Sequence[Message],
) -> Message:
    earlier = sum(isinstance(part, ImagePart) for message in history for part in message.parts)
    if regions and not images and not earlier:
        raise DataError("a region needs a picture; give it with images=[...]")
    current = earlier if images else _current(history)
    parts: list[Part] = [*clips, *images]
    if parts:
        parts.append(TextPart("\n"))  # as conversation data sets write it
    placed = [RegionPart(_region(region, current)) for region in regions]
    if not placed:
        return user(*parts, text)
    pieces = _PLACEHOLDER.split(text)
    if len(pieces) - 1 > len(placed):
        raise DataError(f"the question has {len(pieces) - 1} places for regions, but {len(placed)} were given")
    for number, piece in enumerate(pieces):
        if number:
            parts.append(placed.pop(0))
        if piece:
            parts.append(TextPart(piece))
    for region in placed:
        parts += [TextPart(" "), region]
    return user(*parts)


def _region(given: RegionLike, image: int) -> Region:
    if isinstance(given, Box | Point):
        return given
    numbers = [float(value) for value in given]
    if len(numbers) not in (2, 4):
        raise DataError(f"a region is four numbers (a box) or two (a point), found {len(numbers)}: {numbers}")
    return Box(*numbers, image=image) if len(numbers) == 4 else Point(*numbers, image=image)


def _reply(sample: Sample, answer: Generation, tokens: int, tiles: int) -> Reply:
    images = sample.images
    regions: list[FoundRegion] = []
    if images:
        current = _current(sample.messages)
        regions = parse_regions(answer.text, images[current].width, images[current].height, current)
    messages = (*sample.messages, assistant(answer.text))
    return Reply(answer.text, tuple(regions), answer.stop_reason, tokens, tiles, images, messages)


def _current(messages: Sequence[Message]) -> int:
    """Which picture a conversation is about: the first of the last turn that brought any; 0 if none did."""
    current = seen = 0
    for message in messages:
        brought = sum(isinstance(part, ImagePart) for part in message.parts)
        current = seen if brought else current
        seen += brought
    return current


def _numbers(region: Region) -> tuple[float, ...]:
    if isinstance(region, Box):
        return region.x1, region.y1, region.x2, region.y2
    return region.x, region.y


def _png(image: Image.Image) -> bytes:
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
