"""The pictures of one sample on a page: regions and tile borders where they lie, tiles, close-ups, frames of clips.

Legend: N tiles, C channels, H W pixels of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from mm15.base.batch import EncodedSample
from mm15.base.errors import MissingExtra, SkipSample
from mm15.base.types import ImagePart, Point, RegionPart, Sample, TextPart, VideoPart
from mm15.clips import open_clip
from mm15.images.draw import COLORS
from mm15.images.pixels import open_picture, picture_size
from mm15.images.split import WHOLE, TileSlot, choose_grid, tile_borders, tile_layout
from mm15.io.media import read_bytes
from mm15.pages.html import Html, content, paragraph, row
from mm15.pages.pictures import Mark, border_lines, picture
from mm15.processor import Processor
from mm15.text.regions import parse_regions, write_region

MOST_PICTURES = 8
"""Pictures of a row that are shown."""
SHOWN_FRAMES = 6
"""Frames of a clip that are shown."""
MOST_LABELS = 6
"""Regions of a picture that are labelled in words; where there are more, by number only."""
SMALL = 14
"""A region with a side below so many px of the page is shown enlarged too."""
MOST_CLOSER = 4
GAP = 3
"""Px between tiles."""


def sample_pictures(
    sample: Sample, sizes: list[tuple[int, int]], encoded: EncodedSample | None, processor: Processor, budget: int
) -> list[Html]:
    """Every picture with its regions and tile borders, and beside it its tiles as the model gets them."""
    images, policy = sample.images, processor.config.split
    marks = _marks(sample, sizes)
    figures, before = [], _tiles_before(sample)
    first_tile = 0
    for number, image in enumerate(images[:MOST_PICTURES]):
        try:
            media = image.media
            found = open_picture(read_bytes(media), str(media), media.frame, dpi=media.dpi)
        except SkipSample as skip:
            figures.append(Html(f'<p class="bad">picture {number}: {content(str(skip))}</p>'))
            continue
        grid = choose_grid(found.height, found.width, policy, len(images))
        slots = tile_layout(found.height, found.width, policy, len(images))
        lines = border_lines(*found.size, *tile_borders(found.height, found.width, grid, policy.tile))
        caption = f"picture {number}: {found.width}×{found.height} px, {image.media}"
        side = 420 if len(images) == 1 else 260
        shown = [replace(mark, label=mark.label.partition(" ")[0]) for mark in marks[number]]
        short = len(shown) > MOST_LABELS
        figures.append(picture(found, shown if short else marks[number], lines, caption, side, budget))
        figures += [one for mark in marks[number] if (one := _closer(found, mark, side, budget))][:MOST_CLOSER]
        if encoded is not None:
            place = first_tile + before[number]
            tiles_NCHW = encoded.tiles_NCHW[place : place + len(slots)].numpy()
            first_tile += len(slots)
            below = f"its {len(slots)} tiles of {policy.tile} px" if len(slots) > 1 else f"its tile of {policy.tile} px"
            figures.append(picture(tile_sheet(tiles_NCHW, slots), caption=below, side=260, max_bytes=budget))
    if len(images) > MOST_PICTURES:
        figures.append(paragraph(f"and {len(images) - MOST_PICTURES} more pictures"))
    for number, part in enumerate(clips_of(sample)[: max(0, MOST_PICTURES - len(images))]):
        figures += _clip_frames(part, number, budget)
    return [row(*figures)] if figures else []


def clips_of(sample: Sample) -> list[VideoPart]:
    """The clips of a sample, in order."""
    return [part for message in sample.messages for part in message.parts if isinstance(part, VideoPart)]


def _tiles_before(sample: Sample) -> list[int]:
    """For every picture, how many frames of clips come before it; each is one tile."""
    before, frames = [], 0
    for message in sample.messages:
        for part in message.parts:
            frames += part.frames if isinstance(part, VideoPart) else 0
            before += [frames] if isinstance(part, ImagePart) else []
    return before


def _clip_frames(part: VideoPart, number: int, budget: int) -> list[Html]:
    figures = []
    try:
        with open_clip(part) as clip:
            for frame in clip.frames(SHOWN_FRAMES):
                told = f"clip {number}, {frame.second:.1f} s" + ("" if figures else f", {part.media}")
                if frame.pixels_HWC is None:
                    figures.append(Html(f'<p class="bad">{content(told)}: {content(frame.reason)}</p>'))
                else:
                    shown = Image.fromarray(frame.pixels_HWC)
                    figures.append(picture(shown, caption=told, side=200, max_bytes=budget))
    except (SkipSample, MissingExtra) as error:
        figures.append(Html(f'<p class="bad">clip {number}: {content(str(error))}</p>'))
    return figures


def _closer(found: Image.Image, mark: Mark, side: int, budget: int) -> Html | None:
    """A region that is small on the page, with what stands around it, enlarged; None where it is large enough."""
    shown = side / max(found.size)
    if min(mark.x2 - mark.x1, mark.y2 - mark.y1) * shown >= SMALL or (mark.x1, mark.y1) == (mark.x2, mark.y2):
        return None
    margin = max(12.0, min(0.4 * (mark.x2 - mark.x1), 1.5 * (mark.y2 - mark.y1)))
    x, y = max(0, int(mark.x1 - margin)), max(0, int(mark.y1 - margin))
    right, low = min(found.width, int(mark.x2 + margin) + 1), min(found.height, int(mark.y2 + margin) + 1)
    if right <= x or low <= y:
        return None
    moved = replace(mark, x1=mark.x1 - x, x2=mark.x2 - x, y1=mark.y1 - y, y2=mark.y2 - y, label="")
    part = found.crop((x, y, right, low))
    return picture(part, [moved], (), f"closer: {mark.label}", min(480, max(120, 3 * max(part.size))), budget)


def tile_sheet(tiles_NCHW: np.ndarray, slots: Sequence[TileSlot]) -> Image.Image:
    """Tiles laid out as they lie in their grid, the whole picture to the right of them, gaps between."""
    side = tiles_NCHW.shape[-1]
    rows, cols = max(slot.row for slot in slots), max(slot.col for slot in slots)
    gap = max(GAP, side // 40)
    places = {slot: (slot.col - 1, slot.row - 1) if slot != WHOLE else (cols, 0) for slot in slots}
    across, down = max(x for x, _ in places.values()) + 1, max(rows, 1)
    sheet = Image.new("RGB", (across * (side + gap) - gap, down * (side + gap) - gap), "#5b8def")
    for tile_CHW, slot in zip(tiles_NCHW, slots, strict=True):
        x, y = places[slot]
        sheet.paste(Image.fromarray(tile_CHW.transpose(1, 2, 0)), (x * (side + gap), y * (side + gap)))
    return sheet


def size_of(image: ImagePart) -> tuple[int, int]:
    """(width, height) upright, (0, 0) where it cannot be read."""
    if image.width:
        return image.width, image.height
    media = image.media
    try:
        return picture_size(read_bytes(media), str(media), media.frame, dpi=media.dpi)
    except SkipSample:
        return 0, 0


def _marks(sample: Sample, sizes: Sequence[tuple[int, int]]) -> list[list[Mark]]:
    """The regions of every picture, numbered through the sample, labelled with the words before them."""
    marks: list[list[Mark]] = [[] for _ in sizes]
    number = 0
    for message in sample.messages:
        said = ""
        for part in message.parts:
            if isinstance(part, TextPart):
                said += part.text
            if not isinstance(part, RegionPart):
                continue
            region, number = part.region, number + 1
            if not 0 <= region.image < len(sizes) or not sizes[region.image][0]:
                continue
            size = sizes[region.image]
            try:
                said += write_region(region, *size)
                label = parse_regions(said, *size)[-1].label
            except (SkipSample, IndexError):
                label = "(outside)"
            if isinstance(region, Point):
                corners = (region.x, region.y, region.x, region.y)
            else:
                corners = (region.x1, region.y1, region.x2, region.y2)
            # What stands before a region in a question is the question, not its name.
            label = label if message.trained else ""
            name, colour = f"{number} {label[-40:]}".strip(), COLORS[(number - 1) % len(COLORS)]
            marks[region.image].append(Mark(*corners, name, colour, dashed=not message.trained))
    return marks
