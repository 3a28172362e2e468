"""Image splitting (MM1.5, "Dynamic image splitting"): which grid, how many tiles, and the tiles themselves.

A picture is resized once, padded at the bottom and the right to ``rows * r`` x ``cols * r`` px, and cut row by row into
tiles of r x r; an overview (the whole picture, longer side r) goes before or after them. Everything but the pixels
follows from the size alone, so costs are known without decoding. ``SplitMode.FILL`` stretches instead of padding.

Legend: N tiles, C = 3 channels, H W pixels, r the side of a tile in px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, NamedTuple, Self

import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from mm15.base.config import Strict
from mm15.images.tensors import Memory, resize, to_tensor

STATIC_GRID = (2, 2)
"""The grid of MM1 and of MM1.5's continual pre-training."""


class SplitMode(StrEnum):
    """``NONE``: one tile. ``STATIC``: always 2x2. ``DYNAMIC``: the grid that suits the picture.

    ``FILL`` is the rule of Idefics3 (arXiv 2408.12637) and its readers: the longer side has floor(sqrt(n_max)) tiles,
    the shorter one as many as it needs; the picture is stretched onto them, and onto the overview, without padding.
    ``n_min``, ``reading``, ``tolerance`` and ``pad_color`` have no meaning then.
    """

    NONE = "none"
    STATIC = "static"
    DYNAMIC = "dynamic"
    FILL = "fill"


class Overview(StrEnum):
    """Where the whole picture goes. After the tiles it can attend to them (MM1.5's choice)."""

    AFTER = "after"
    BEFORE = "before"
    NONE = "none"


class Indicator(StrEnum):
    """How the text around the tiles tells their place; written by the processor. ``TAGS`` are those of Idefics3."""

    INDEX = "index"
    SEPS = "seps"
    TAGS = "tags"
    NONE = "none"


class Reading(StrEnum):
    """Two readings of "longer-side resize".

    ``A``: the longer side fills its side of the grid, and a grid that the other side leaves is rejected.
    ``B``: the picture is scaled as far as it fits; no grid is rejected.
    """

    A = "A"
    B = "B"


Channel = Annotated[int, Field(ge=0, le=255)]


class SplitPolicy(Strict):
    """The rule of splitting. Answering may use another one than training."""

    mode: SplitMode = SplitMode.DYNAMIC
    tile: int = Field(default=672, ge=1)
    """Side r of a tile in px."""
    n_min: int = Field(default=4, ge=1)
    n_max: int = 9
    """Tiles of a dynamic grid, without the overview."""
    reading: Reading = Reading.A
    tolerance: int = Field(default=0, ge=0)
    """Px by which the shorter side may overshoot its grid under reading A; it is then squeezed to fit."""
    overview: Overview = Overview.AFTER
    indicator: Indicator = Indicator.INDEX
    max_split_images: int = Field(default=2, ge=0)
    """A sample with more pictures than this is not split; those that never are (``ImagePart.split``) do not count."""
    pad_color: tuple[Channel, Channel, Channel] = (123, 117, 104)
    """RGB of the padding: CLIP's mean."""

    @model_validator(mode="after")
    def _has_grids(self) -> Self:
        candidate_grids(self.n_min, self.n_max)
        if self.mode is SplitMode.FILL and self.tile % 2:
            raise ValueError(f"mode fill rounds sides to even numbers, so tile must be even, not {self.tile}")
        return self

    def along(self, split: bool = True) -> int:
        """Tiles along the longer side under ``FILL``."""
        return math.isqrt(self.n_max) if split else 1


def unsplit(policy: SplitPolicy) -> SplitPolicy:
    """The same rule for pictures that stay whole."""
    if policy.mode is SplitMode.FILL:
        return policy.model_copy(update={"n_min": 1, "n_max": 1})
    return policy.model_copy(update={"mode": SplitMode.NONE})


@dataclass(frozen=True, slots=True)
class Grid:
    """How a picture lies on its tiles."""

    rows: int
    cols: int
    height: int
    """Height of the resized picture in px, at least 1 and at most rows * r."""
    width: int
    """Width of the resized picture in px, at least 1 and at most cols * r."""
    covers: bool
    """The picture was not shrunk."""
    scale: float
    """Resized over original side."""


class TileSlot(NamedTuple):
    """Place of a tile in its grid, counted from 1; (0, 0) is the overview, or a picture that is not split."""

    row: int
    col: int


WHOLE = TileSlot(0, 0)

_RESIZED = Memory()
"""The resized picture until it is cut; no larger than its tiles."""


@dataclass(frozen=True, slots=True)
class ImageTiles:
    """A cut picture: tile n of ``tiles_NCHW`` (uint8 RGB, unnormalised) lies at ``slots[n]``."""

    tiles_NCHW: Tensor
    slots: tuple[TileSlot, ...]
    grid: Grid


def candidate_grids(n_min: int, n_max: int) -> list[tuple[int, int]]:
    """All (rows, cols) with n_min <= rows * cols <= n_max, by rows, then columns.

    Raises:
        ValueError: the range is empty.
    """
    if not 1 <= n_min <= n_max:
        raise ValueError(f"n_min = {n_min} and n_max = {n_max} leave no grid; 1 <= n_min <= n_max is needed")
    return [
        (rows, cols) for rows in range(1, n_max + 1) for cols in range(1, n_max // rows + 1) if rows * cols >= n_min
    ]


def choose_grid(height: int, width: int, policy: SplitPolicy, images_in_sample: int = 1) -> Grid:
    """The grid of a picture of ``height`` x ``width`` px (MM1.5, "Dynamic image splitting").

    Dynamic: among the grids that hold the picture without shrinking it, the one with the least padding; if there is
    none, the one that shrinks it least. Ties go to the least padding, the fewest tiles, the squarer grid. Padding is
    counted from unrounded sides, because exact ties are common (squares) and rounding would settle them at random.

    Args:
        images_in_sample: pictures in the whole sample; with more than ``policy.max_split_images`` none is split.

    Raises:
        ValueError: a side below 1 px.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} px (height x width) cannot be split: sides start at 1 px")
    if policy.mode is SplitMode.FILL:
        longest = policy.tile * policy.along(images_in_sample <= policy.max_split_images)
        return _filled(*_within(height, width, longest), policy.tile, longest / max(height, width))
    if policy.mode is SplitMode.NONE or images_in_sample > policy.max_split_images:
        return _fit(height, width, 1, 1, policy.tile)
    if policy.mode is SplitMode.STATIC:
        return _fit(height, width, *STATIC_GRID, policy.tile)
    return _choose(height, width, policy.n_min, policy.n_max, policy.tile, policy.reading, policy.tolerance)


@lru_cache(maxsize=1 << 16)
def _choose(height: int, width: int, n_min: int, n_max: int, r: int, reading: Reading, tolerance: int) -> Grid:
    best: tuple[tuple[float, ...], int, int, float] | None = None
    for rows, cols in candidate_grids(n_min, n_max):
        by_height, by_width = rows * r / height, cols * r / width
        if reading is Reading.B:
            scale = min(by_height, by_width)
        else:
            scale = by_width if width >= height else by_height
            if round(height * scale) > rows * r + tolerance or round(width * scale) > cols * r + tolerance:
                continue
        padding = round(rows * cols * r * r - height * scale * width * scale)
        key = (-min(scale, 1.0), padding, rows * cols, abs(rows - cols))
        if best is None or key < best[0]:
            best = (key, rows, cols, scale)
    assert best is not None, "one row or one column of tiles holds every picture"
    return _place(height, width, best[1], best[2], r, best[3])


def tile_layout(height: int, width: int, policy: SplitPolicy, images_in_sample: int = 1) -> list[TileSlot]:
    """The tiles of a picture in the order the model sees them, from its size in px alone; see ``choose_grid``."""
    grid = choose_grid(height, width, policy, images_in_sample)
    return list(_slots(grid.rows, grid.cols, policy.overview))


def tile_borders(height: int, width: int, grid: Grid, tile: int) -> tuple[list[float], list[float]]:
    """Where the borders between the tiles of a grid lie on the original picture of ``height`` x ``width`` px.

    Returns:
        x of the upright borders and y of the level ones, in its px; borders inside the padding are left out.
    """
    across = [column * tile * width / grid.width for column in range(1, grid.cols)]
    down = [row * tile * height / grid.height for row in range(1, grid.rows)]
    return [x for x in across if x < width], [y for y in down if y < height]


def split_image(picture: Image.Image | Tensor, policy: SplitPolicy, images_in_sample: int = 1) -> ImageTiles:
    """Cut a picture into the tiles that ``tile_layout`` announces for its size.

    Args:
        picture: RGB, or its pixels as uint8 [3, H, W] (``open_pixels``).

    Raises:
        ValueError: the image is not RGB.
    """
    pixels_CHW = to_tensor(picture) if isinstance(picture, Image.Image) else picture
    height, width = pixels_CHW.shape[1:]
    grid = choose_grid(height, width, policy, images_in_sample)
    count, r = grid.rows * grid.cols, policy.tile
    slots = _slots(grid.rows, grid.cols, policy.overview)
    tiles_NCHW = torch.empty(len(slots), 3, r, r, dtype=torch.uint8)
    start = int(slots[0] == WHOLE and len(slots) > 1)
    whole = _fit(height, width, 1, 1, r)
    if policy.mode is SplitMode.FILL:
        # In steps, as Idefics3 does it: to the longer side, onto the grid, and from there onto the overview.
        longest = max(grid.height, grid.width)
        first_height, first_width = _within(height, width, longest)
        pixels_CHW = resize(resize(pixels_CHW, first_width, first_height), grid.width, grid.height)
        whole = Grid(1, 1, r, r, grid.covers, grid.scale)
    _fill(tiles_NCHW[start : start + count], pixels_CHW, grid, policy)
    if len(slots) > count:
        place = slots.index(WHOLE)
        _fill(tiles_NCHW[place : place + 1], pixels_CHW, whole, policy)
    return ImageTiles(tiles_NCHW, slots, grid)


@lru_cache
def _slots(rows: int, cols: int, overview: Overview) -> tuple[TileSlot, ...]:
    if rows * cols == 1:
        return (WHOLE,)  # The only tile is the whole picture; an overview would repeat it.
    tiles = tuple(TileSlot(row, col) for row in range(1, rows + 1) for col in range(1, cols + 1))
    if overview is Overview.NONE:
        return tiles
    return (*tiles, WHOLE) if overview is Overview.AFTER else (WHOLE, *tiles)


def _fit(height: int, width: int, rows: int, cols: int, r: int) -> Grid:
    """The picture as large as the grid holds it."""
    return _place(height, width, rows, cols, r, min(rows * r / height, cols * r / width))


def _within(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width with the longer side ``longest`` and the other one even, in the arithmetic of Idefics3."""
    aspect = width / height
    if width >= height:
        other = int(longest / aspect)
        return max(other + other % 2, 1), longest
    other = int(longest * aspect)
    return longest, max(other + other % 2, 1)


def _filled(height: int, width: int, r: int, scale: float) -> Grid:
    """The grid that a picture of this size is stretched onto."""
    rows, cols = math.ceil(height / r), math.ceil(width / r)
    return Grid(rows, cols, rows * r, cols * r, covers=scale >= 1, scale=scale)


def _place(height: int, width: int, rows: int, cols: int, r: int, scale: float) -> Grid:
    """A very thin picture keeps one pixel; one that overshoots within the tolerance is squeezed onto its grid."""
    resized_height = min(max(round(height * scale), 1), rows * r)
    resized_width = min(max(round(width * scale), 1), cols * r)
    return Grid(rows, cols, resized_height, resized_width, covers=scale >= 1, scale=scale)


def _fill(tiles_NCHW: Tensor, pixels_CHW: Tensor, grid: Grid, policy: SplitPolicy) -> None:
    """Lay the resized picture on the tiles of its grid, from the upper left; what it leaves is padding."""
    resized_CHW = resize(pixels_CHW, grid.width, grid.height, _RESIZED)
    r = policy.tile
    pad_C11 = torch.tensor(policy.pad_color, dtype=torch.uint8)[:, None, None]
    for index, tile_CHW in enumerate(tiles_NCHW):
        top, left = index // grid.cols * r, index % grid.cols * r
        part_CHW = resized_CHW[:, top : top + r, left : left + r]
        height, width = part_CHW.shape[1:]
        if min(height, width) < r:
            tile_CHW.copy_(pad_C11.expand_as(tile_CHW))
        tile_CHW[:, :height, :width] = part_CHW
