"""The one door: ``Sample`` → ``EncodedSample``, for training, evaluation and chat alike.

A picture becomes its sub-images (MM1.5, "dynamic image splitting"), each announced by plain text and filled with
``tokens_per_tile`` image tokens; a clip becomes its frames, each a picture that is not split; text comes from the
template. ``count`` walks the same plan from sizes alone.

Legend: T tokens, N tiles, C channels, H W pixels of a tile.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from mm15.base.batch import IGNORE, EncodedSample
from mm15.base.config import Strict, fingerprint
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import ImagePart, Region, Sample, VideoPart
from mm15.clips import open_clip
from mm15.images.pixels import picture_size
from mm15.images.split import WHOLE, Indicator, SplitPolicy, TileSlot, split_image, tile_layout, unsplit
from mm15.images.tensors import open_pixels, planes
from mm15.io.media import read_bytes
from mm15.text.regions import write_region
from mm15.text.template import ImageSpan, Span, TemplateConfig, TextSpan, asked, check_template, layout
from mm15.text.tokenizer import Tokenizer


class ProcessorConfig(Strict):
    """All that decides how a sample becomes tokens, next to the tokenizer. ``processor.json`` of a bundle."""

    split: SplitPolicy = SplitPolicy()
    answer_split: SplitPolicy | None = None
    """Splitting when answering; None is the training rule. Grids that training never saw cost accuracy."""
    tokens_per_tile: int = Field(default=144, ge=1)
    template: TemplateConfig = TemplateConfig()
    max_tokens: int = Field(default=4096, ge=1)
    """Longest sample; longer ones are skipped, never cut."""


AROUND, ROW_COL, GLOBAL = "<fake_token_around_image>", "<row_{row}_col_{col}>", "<global-img>"
"""What ``Indicator.TAGS`` writes (Idefics3, arXiv 2408.12637); the first is a special token."""


class Cost(NamedTuple):
    """What a sample takes of a pack."""

    tokens: int
    tiles: int


class Measure(NamedTuple):
    """What can be said of a sample without decoding its pictures."""

    tokens: int
    tiles: int
    trained: int
    """Positions with a label."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) of every picture, upright, in px; of every frame of a clip as its header says."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture before it is decoded: its name in errors, its size in px, and its bytes if they were read for it.

    ``part`` is a clip for every one of its frames.
    """

    part: ImagePart | VideoPart
    name: str
    width: int
    height: int
    data: bytes | None

    def policy(self, policy: SplitPolicy) -> SplitPolicy:
        """The rule by which it is split."""
        return policy if isinstance(self.part, ImagePart) and self.part.split else unsplit(policy)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A sample laid out: its spans, its pictures and the slots of each picture's tiles."""

    spans: list[Span]
    pictures: list[_Picture]
    slots: list[list[TileSlot]]
    splitting: int
    """Pictures that may be split."""


class Processor:
    """Encodes samples. A pure function of config, tokenizer and sample; instances can be pickled.

    Args:
        config: see ``ProcessorConfig``.
        tokenizer: must know the special tokens of the template.
        root: folder that relative picture paths start from.

    Raises:
        ConfigError: the tokenizer lacks tokens of the template; all of them are named.
    """

    def __init__(self, config: ProcessorConfig, tokenizer: Tokenizer, root: str = "") -> None:
        check_template(config.template, tokenizer)
        rules = (config.split, config.answer_split or config.split)
        if any(rule.indicator is Indicator.TAGS for rule in rules) and AROUND not in tokenizer.specials:
            fix = "mm15 import --tags adds it"
            raise ConfigError([f"indicator tags needs the special token '{AROUND}' in the tokenizer; {fix}"], "split")
        self.config = config
        self.tokenizer = tokenizer
        self.root = root
        self.tokens_per_tile = config.tokens_per_tile
        self.image_token = tokenizer.special(config.template.image)
        ends = (config.template.assistant.end, config.template.document.end)
        self.stop_tokens = {tokenizer.special(end) for end in ends}
        self._announcements: dict[str, tuple[int, ...]] = {}

    @property
    def fingerprint(self) -> str:
        """Changes whenever the tokens of any sample could change: the key of cached lengths."""
        return f"{fingerprint(self.config)}-{self.tokenizer.fingerprint}"

    def encode(self, sample: Sample, answering: bool = False) -> EncodedSample:
        """Tokens, shifted labels and tiles of a sample.

        Labels are set for the content and end token of trained turns (answers in fine-tuning, documents in the
        pre-training stages). Image tokens and the text that announces sub-images are never predicted.

        Args:
            answering: drop what follows the last user turn and stop where the answer begins; no labels. A sample of
                documents stops inside its last document.

        Raises:
            SkipSample: naming the sample; nothing to train on or to answer, a region that is no region or of no
                picture, a stated size that is not the picture's, or more than ``max_tokens`` tokens.
            PictureError: a picture is refused.
        """
        with _naming(sample):
            policy = self._policy(answering)
            plan = self._plan(sample, policy, answering)
            tokens: list[int] = []
            targets: list[int] = []
            for ids, trained in self._pieces(plan, policy):
                tokens += ids
                targets += ids if trained else [IGNORE] * len(ids)
            tiles_NCHW = self._tiles(plan, policy)
        return EncodedSample(
            tokens_T=torch.tensor(tokens),
            labels_T=torch.tensor([*targets[1:], IGNORE]),
            tiles_NCHW=tiles_NCHW,
            key=sample.key,
            source=sample.source,
            category=sample.category,
        )

    def count(self, sample: Sample, answering: bool = False) -> Cost:
        """Tokens and tiles of ``encode(sample, answering)`` from sizes alone; raises what ``encode`` finds in sizes.

        Pictures with a stated size are not touched, of others only the header is read.
        """
        with _naming(sample):
            policy = self._policy(answering)
            plan = self._plan(sample, policy, answering)
            return self._cost(plan, policy)

    def measure(self, sample: Sample) -> Measure:
        """``count``, the number of labels, and the pictures' sizes; raises what ``count`` raises."""
        with _naming(sample):
            plan = self._plan(sample, self._policy(False), answering=False)
            pieces = [(len(ids), trained) for ids, trained in self._pieces(plan, self._policy(False))]
            trained = sum(length for length, is_trained in pieces if is_trained)
            # Labels are shifted: what comes first is never predicted.
            trained -= int(bool(pieces) and pieces[0][1])
            sizes = tuple((picture.width, picture.height) for picture in plan.pictures)
            return Measure(sum(length for length, _ in pieces), sum(map(len, plan.slots)), trained, sizes)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return self.tokenizer.decode(ids)

    def _policy(self, answering: bool) -> SplitPolicy:
        return (self.config.answer_split if answering else None) or self.config.split

    def _plan(self, sample: Sample, policy: SplitPolicy, answering: bool) -> _Plan:
        """Lay the sample out by sizes; refuse it here if it is too long."""
        if answering:
            sample = replace(sample, messages=asked(sample.messages))
        shown = [part for one in sample.messages for part in one.parts if isinstance(part, ImagePart | VideoPart)]
        pictures = self._pictures(shown)
        # Regions count the pictures of the sample, without frames of clips.
        stills = [picture for picture in pictures if isinstance(picture.part, ImagePart)]

        def region_text(region: Region) -> str:
            if not 0 <= region.image < len(stills):
                raise SkipSample(f"{region} is on picture {region.image} (from 0), but there are only {len(stills)}")
            return write_region(region, stills[region.image].width, stills[region.image].height)

        spans = layout(sample.messages, self.config.template, self.tokenizer, region_text, answering)
        splitting = sum(part.split for part in sample.images)
        slots = [tile_layout(one.height, one.width, one.policy(policy), splitting) for one in pictures]
        plan = _Plan(spans, pictures, slots, splitting)
        cost = self._cost(plan, policy)
        if cost.tokens > self.config.max_tokens:
            raise SkipSample(
                f"{cost.tokens} tokens ({cost.tiles} tiles of {self.tokens_per_tile}) are more than max_tokens = "
                f"{self.config.max_tokens}; raise max_tokens, lower split.n_max, or shorten the sample"
                + (" (fewer frames of its clip)" if len(stills) < len(pictures) else "")
            )
        return plan

    def _pictures(self, shown: Sequence[ImagePart | VideoPart]) -> list[_Picture]:
        pictures: list[_Picture] = []
        for part in shown:
            if isinstance(part, ImagePart):
                pictures.append(self._measure(part, len(pictures)))
                continue
            with open_clip(part, self.root) as clip:
                pictures += [_Picture(part, f"clip {part.media}", clip.width, clip.height, None)] * part.frames
        return pictures

    def _measure(self, part: ImagePart, number: int) -> _Picture:
        name = f"picture {number} ({part.media})"
        if part.width > 0 and part.height > 0:
            return _Picture(part, name, part.width, part.height, None)
        data = read_bytes(part.media, self.root)
        return _Picture(part, name, *picture_size(data, name, part.media.frame, dpi=part.media.dpi), data)

    def _cost(self, plan: _Plan, policy: SplitPolicy) -> Cost:
        tokens = sum(len(ids) for ids, _ in self._pieces(plan, policy))
        return Cost(tokens, sum(map(len, plan.slots)))

    def _pieces(self, plan: _Plan, policy: SplitPolicy) -> Iterator[tuple[Sequence[int], bool]]:
        """Token ids in order, each piece trained or not."""
        tile = [self.image_token] * self.tokens_per_tile
        for span in plan.spans:
            if isinstance(span, TextSpan):
                yield span.ids, span.trained
            else:
                for text in _announcements(span, plan.slots[span.image], policy.indicator):
                    yield self._announcement(text), False
                    yield tile, False
                if policy.indicator is Indicator.TAGS:
                    yield self._announcement(AROUND), False

    def _announcement(self, text: str) -> tuple[int, ...]:
        if text not in self._announcements:
            encode = self.tokenizer.encode_trusted if AROUND in text else self.tokenizer.encode
            self._announcements[text] = tuple(encode(text)) if text else ()
        return self._announcements[text]

    def _tiles(self, plan: _Plan, policy: SplitPolicy) -> Tensor:
        """The tiles of all pictures, uint8 [N, 3, r, r]; one decoded picture is in memory at a time."""
        tiles: list[Tensor] = []
        number = 0
        while number < len(plan.pictures):
            picture = plan.pictures[number]
            if isinstance(picture.part, VideoPart):
                tiles += self._frames(picture.part, policy)
                number += picture.part.frames
            else:
                tiles.append(self._still(picture, picture.part, policy, plan.splitting))
                number += 1
        if not tiles:
            return torch.zeros(0, 3, policy.tile, policy.tile, dtype=torch.uint8)
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles)

    def _still(self, picture: _Picture, part: ImagePart, policy: SplitPolicy, splitting: int) -> Tensor:
        media = part.media
        data = picture.data if picture.data is not None else read_bytes(media, self.root)
        pixels_CHW = open_pixels(data, picture.name, media.frame, dpi=media.dpi)
        height, width = pixels_CHW.shape[1:]
        if (width, height) != (picture.width, picture.height):
            raise SkipSample(
                f"the row states {picture.width}×{picture.height} px, but the picture has {width}×"
                f"{height} (width×height); correct the row or leave the size out",
                picture.name,
            )
        return split_image(pixels_CHW, picture.policy(policy), splitting).tiles_NCHW

    def _frames(self, part: VideoPart, policy: SplitPolicy) -> list[Tensor]:
        """A tile for every frame. In place of one that is damaged stands the nearest good one, as a player shows it."""
        whole = unsplit(policy)
        tiles: list[Tensor | None] = []
        with open_clip(part, self.root) as clip:
            for frame in clip.frames():
                found = frame.pixels_HWC
                tiles.append(None if found is None else split_image(planes(found), whole).tiles_NCHW)
        if clip.bad:
            told = (
                f"{clip.bad} of {len(tiles)} frames cannot be decoded ({clip.reasons[0]}); the nearest stand for them"
            )
            warnings.warn(f"clip {part.media}: {told}", stacklevel=2)
        good = [number for number, tile in enumerate(tiles) if tile is not None]
        nearest = (min(good, key=lambda one: abs(one - number)) for number in range(len(tiles)))
        return [tile for number in nearest if (tile := tiles[number]) is not None]


def _announcements(span: ImageSpan, slots: Sequence[TileSlot], indicator: Indicator) -> Iterator[str]:
    """The text before each sub-image of a picture (MM1.5, sub-image position indicators).

    ``INDEX`` writes ``(k,row,col)``; an overview, or a picture that is not split, is ``(k,0,0)``. ``SEPS`` writes ":"
    before the overview, "," between columns and "<n>" between rows; a picture that is not split needs none. ``TAGS``
    puts ``<fake_token_around_image><row_1_col_2>`` before a tile, ``<global-img>`` in the place of the latter before
    the overview, and a line break before each row after the first, two before the overview.
    """
    previous = WHOLE
    for slot in slots:
        if indicator is Indicator.INDEX:
            yield f"({span.image},{slot.row},{slot.col})"
        elif indicator is Indicator.TAGS:
            name = GLOBAL if slot == WHOLE else ROW_COL.format(row=slot.row, col=slot.col)
            lines = "" if previous == WHOLE else "\n\n" if slot == WHOLE else "\n" * (slot.row - previous.row)
            yield f"{lines}{AROUND}{name}"
        elif indicator is Indicator.NONE or len(slots) == 1:
            yield ""
        elif slot == WHOLE:
            yield ":"
        elif previous == WHOLE:
            yield ""
        else:
            yield "," if slot.row == previous.row else "<n>"
        previous = slot


@contextmanager
def _naming(sample: Sample) -> Iterator[None]:
    """Put the sample's key in front of what is said about it."""
    try:
        yield
    except SkipSample as error:
        raise type(error)(str(error), sample.key) from error
