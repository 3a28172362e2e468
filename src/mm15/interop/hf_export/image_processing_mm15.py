"""Dynamic image splitting (MM1.5, arXiv 2409.20566): a picture becomes square tiles and an overview.

Only PIL, numpy and torch. Legend: N tiles, C = 3 channels, H W pixels, r the side of a tile in px.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

STATIC_GRID = (2, 2)
WHOLE = (0, 0)
AROUND = "<fake_token_around_image>"
"""The special token of the indicators ``tags`` (Idefics3, arXiv 2408.12637)."""


@lru_cache(maxsize=1 << 16)
def choose_grid(
    height: int, width: int, mode: str, n_min: int, n_max: int, r: int, reading: str, tolerance: int
) -> tuple[int, int, int, int]:
    """(rows, cols, height, width of the resized picture) for a picture of ``height`` x ``width`` px.

    Among the grids that hold the picture without shrinking it the one with the least padding; if there is none, the one
    that shrinks it least.
    """
    if mode == "none":
        return _fit(height, width, 1, 1, r)
    if mode == "fill":
        height, width = _within(height, width, r * math.isqrt(n_max))
        rows, cols = math.ceil(height / r), math.ceil(width / r)
        return rows, cols, rows * r, cols * r
    if mode == "static":
        return _fit(height, width, *STATIC_GRID, r)
    best = None
    for rows in range(1, n_max + 1):
        for cols in range(1, n_max // rows + 1):
            if rows * cols < n_min:
                continue
            by_height, by_width = rows * r / height, cols * r / width
            if reading == "B":
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


def _fit(height: int, width: int, rows: int, cols: int, r: int) -> tuple[int, int, int, int]:
    return _place(height, width, rows, cols, r, min(rows * r / height, cols * r / width))


def _within(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width with the longer side ``longest`` and the other one even, in the arithmetic of Idefics3."""
    aspect = width / height
    if width >= height:
        other = int(longest / aspect)
        return max(other + other % 2, 1), longest
    other = int(longest * aspect)
    return longest, max(other + other % 2, 1)


def _resized(pixels_CHW: Tensor, height: int, width: int) -> Tensor:
    if pixels_CHW.shape[1:] == (height, width):
        return pixels_CHW
    picture = pixels_CHW[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(picture, size=(height, width), mode="bicubic", antialias=True)[0]


def _place(height: int, width: int, rows: int, cols: int, r: int, scale: float) -> tuple[int, int, int, int]:
    resized_height = min(max(round(height * scale), 1), rows * r)
    resized_width = min(max(round(width * scale), 1), cols * r)
    return rows, cols, resized_height, resized_width


def upright_rgb(image: Any) -> Tensor:
    """uint8 [3, H, W] of a PIL picture, or of an array or tensor [H, W, 3] or [3, H, W] of uint8.

    PIL pictures are turned upright (EXIF), transparency lies on white, 16-bit channels keep their high byte.
    """
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise ValueError("floating-point pixels have no known range; save the picture with 8 or 16 bits")
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    pixels = torch.as_tensor(image)
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or 3 not in (pixels.shape[0], pixels.shape[2]):
        raise ValueError(
            f"a picture is a PIL image or uint8 [3, H, W] or [H, W, 3], found {pixels.dtype} {tuple(pixels.shape)}"
        )
    return pixels if pixels.shape[0] == 3 else pixels.permute(2, 0, 1)


def flat_pictures(images: Any) -> list[Any]:
    """Pictures out of any nesting of lists, in order."""
    if isinstance(images, (list, tuple)):
        return [picture for part in images for picture in flat_pictures(part)]
    return [images]


class MM15ImageProcessor(BaseImageProcessor):
    """Cuts pictures into normalised tiles.

    Args:
        split: the rule: ``mode`` (none, static, dynamic, fill), ``tile`` px, ``n_min`` and ``n_max`` tiles of a grid,
            ``reading``, ``tolerance``, ``overview`` (after, before, none), ``indicator`` (index, seps, tags, none),
            ``max_split_images`` (a conversation with more pictures is not split), ``pad_color``.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(
        self, split: dict[str, Any] | None = None, image_mean: Any = None, image_std: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.split: dict[str, Any] = dict(split or {"mode": "none", "tile": 224, "pad_color": [123, 117, 104]})
        self.image_mean = list(image_mean or (0.5, 0.5, 0.5))
        self.image_std = list(image_std or (0.5, 0.5, 0.5))

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """File names and addresses become pictures; what is a picture stays as it is."""
        if isinstance(image_url_or_urls, (list, tuple)):
            return [self.fetch_images(image) for image in image_url_or_urls]
        if isinstance(image_url_or_urls, str) and not image_url_or_urls.startswith(("http://", "https://", "data:")):
            return Image.open(image_url_or_urls)
        return super().fetch_images(image_url_or_urls) if isinstance(image_url_or_urls, str) else image_url_or_urls

    def grid(self, height: int, width: int, pictures: int) -> tuple[int, int, int, int]:
        """See ``choose_grid``; ``pictures`` are those of the whole conversation."""
        rule = self.split
        splits, mode = pictures <= rule.get("max_split_images", 0), rule["mode"]
        mode = mode if splits or mode == "fill" else "none"
        return choose_grid(
            height,
            width,
            mode,
            rule.get("n_min", 1) if splits else 1,
            rule.get("n_max", 1) if splits else 1,
            rule["tile"],
            rule.get("reading", "A"),
            rule.get("tolerance", 0),
        )

    def slots(self, height: int, width: int, pictures: int = 1) -> list[tuple[int, int]]:
        """(row, column) of every tile in the model's order, counted from 1; (0, 0) is the whole picture."""
        rows, cols, _, _ = self.grid(height, width, pictures)
        if rows * cols == 1:
            return [WHOLE]
        tiles = [(row, col) for row in range(1, rows + 1) for col in range(1, cols + 1)]
        overview = self.split.get("overview", "after")
        return tiles if overview == "none" else [*tiles, WHOLE] if overview == "after" else [WHOLE, *tiles]

    def get_number_of_image_patches(self, height: int, width: int, images_kwargs: Any = None) -> int:
        """Tiles of the only picture of a conversation."""
        return len(self.slots(height, width))

    def preprocess(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, images: Any, counts: list[int] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Tiles of all pictures.

        Args:
            images: pictures; lists in a list are the pictures of one conversation each, one list is one conversation.
            counts: pictures per conversation, where ``images`` is flat but holds several conversations.

        Returns:
            ``pixel_values`` [N, 3, r, r] in fp32; per picture ``num_tiles``, ``image_sizes`` (height, width) and
            ``image_places`` (its number in the conversation, pictures of the conversation).
        """
        images = self.fetch_images(images)
        if counts is None:
            nested = isinstance(images, (list, tuple)) and images and isinstance(images[0], (list, tuple))
            counts = [len(flat_pictures(part)) for part in (images if nested else [images])]
        places = [(number, count) for count in counts for number in range(count)]
        tiles, sizes, numbers = [], [], []
        for picture, (_, count) in zip(flat_pictures(images), places, strict=True):
            pixels_CHW = upright_rgb(picture)
            cut = self.cut(pixels_CHW, count)
            tiles.append(cut)
            numbers.append(len(cut))
            sizes.append(tuple(pixels_CHW.shape[1:]))
        r = self.split["tile"]
        pixel_values = self.normalise(torch.cat(tiles) if tiles else torch.zeros(0, 3, r, r, dtype=torch.uint8))
        if kwargs.get("return_tensors") == "np":
            pixel_values = pixel_values.numpy()
        data = {"pixel_values": pixel_values, "num_tiles": numbers, "image_sizes": sizes, "image_places": places}
        return BatchFeature(data)

    def cut(self, pixels_CHW: Tensor, pictures: int) -> Tensor:
        """uint8 tiles [N, 3, r, r] of one picture, in the order of ``slots``."""
        height, width = pixels_CHW.shape[1:]
        rows, cols, *_ = grid = self.grid(height, width, pictures)
        r = self.split["tile"]
        slots = self.slots(height, width, pictures)
        tiles_NCHW = torch.empty(len(slots), 3, r, r, dtype=torch.uint8)
        start = int(slots[0] == WHOLE and len(slots) > 1)
        whole = _fit(height, width, 1, 1, r)
        if self.split["mode"] == "fill":
            first = _within(height, width, max(grid[2:]))
            pixels_CHW = _resized(_resized(pixels_CHW, *first), *grid[2:])
            whole = (1, 1, r, r)
        self._fill(tiles_NCHW[start : start + rows * cols], pixels_CHW, grid)
        if len(slots) > rows * cols:
            place = slots.index(WHOLE)
            self._fill(tiles_NCHW[place : place + 1], pixels_CHW, whole)
        return tiles_NCHW

    def _fill(self, tiles_NCHW: Tensor, pixels_CHW: Tensor, grid: tuple[int, int, int, int]) -> None:
        _, cols, height, width = grid
        pixels_CHW = _resized(pixels_CHW, height, width)
        r = self.split["tile"]
        pad_C11 = torch.tensor(self.split["pad_color"], dtype=torch.uint8)[:, None, None]
        for index, tile_CHW in enumerate(tiles_NCHW):
            top, left = index // cols * r, index % cols * r
            part_CHW = pixels_CHW[:, top : top + r, left : left + r]
            tile_CHW.copy_(pad_C11.expand_as(tile_CHW))
            tile_CHW[:, : part_CHW.shape[1], : part_CHW.shape[2]] = part_CHW

    def normalise(self, tiles_NCHW: Tensor) -> Tensor:
        """(x - 255 mean) / (255 std) per channel, fp32."""
        mean_C11 = 255 * torch.tensor(self.image_mean)[:, None, None]
        std_C11 = 255 * torch.tensor(self.image_std)[:, None, None]
        return tiles_NCHW.float().sub_(mean_C11).div_(std_C11)

    def announcements(self, number: int, slots: list[tuple[int, int]]) -> list[str]:
        """The text before each tile of picture ``number`` of a conversation (sub-image position indicators)."""
        indicator, previous, texts = self.split.get("indicator", "index"), WHOLE, []
        for slot in slots:
            if indicator == "index":
                texts.append(f"({number},{slot[0]},{slot[1]})")
            elif indicator == "tags":
                name = "<global-img>" if slot == WHOLE else f"<row_{slot[0]}_col_{slot[1]}>"
                lines = "" if previous == WHOLE else "\n\n" if slot == WHOLE else "\n" * (slot[0] - previous[0])
                texts.append(f"{lines}{AROUND}{name}")
            elif indicator == "none" or len(slots) == 1:
                texts.append("")
            elif slot == WHOLE:
                texts.append(":")
            elif previous == WHOLE:
                texts.append("")
            else:
                texts.append("," if slot[0] == previous[0] else "<n>")
            previous = slot
        return texts

    def closing(self) -> str:
        """The text behind the last tile of a picture."""
        return AROUND if self.split.get("indicator") == "tags" else ""


__all__ = ["MM15ImageProcessor"]
