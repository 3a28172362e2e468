"""Pixels as tensors: opened, resized.

Apart from ``pixels``, which must not import torch. Legend: C channels, H height, W width.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mm15.images.pixels import BUDGET, PixelBudget, open_array


def open_pixels(
    data: bytes, name: str = "picture", frame: int = 0, budget: PixelBudget = BUDGET, dpi: int = 0
) -> Tensor:
    """``to_tensor(open_picture(...))``, the same pixels and errors, in about half the time for a JPEG.

    Returns:
        uint8 [3, H, W], in memory pixel after pixel.
    """
    return planes(open_array(data, name, frame, budget, dpi))


def resize(pixels_CHW: Tensor, width: int, height: int, memory: Memory | None = None) -> Tensor:
    """Bicubic with antialias, uint8 to uint8.

    Pillow's filter (``Image.resize`` with ``BICUBIC``) to within 2 of 255 where the aspect is kept, in about a third of
    its time.

    Args:
        memory: where the result is laid; it holds until the next picture is.
    """
    if pixels_CHW.shape[1:] == (height, width):
        return pixels_CHW
    # From planes the kernel is slower, and fails on a result of 1 x 1 px (torch 2.13).
    pixels_1CHW = pixels_CHW[None].contiguous(memory_format=torch.channels_last)
    if memory is None:
        return functional.interpolate(pixels_1CHW, size=(height, width), mode="bicubic", antialias=True)[0]
    # What interpolate() calls, which itself takes no place for the result.
    laid_1CHW = memory.picture(height, width)
    torch.ops.aten._upsample_bicubic2d_aa.out(pixels_1CHW, [height, width], False, None, None, out=laid_1CHW)
    return laid_1CHW[0]


class Memory(threading.local):
    """Every thread's place for one picture, as large as the largest so far.

    Asking for new megabytes for each picture and giving them back takes up to half as long as resizing it.
    """

    bytes_N = torch.empty(0, dtype=torch.uint8)

    def picture(self, height: int, width: int) -> Tensor:
        """uint8 [1, 3, H, W], in memory pixel after pixel; its values are whatever lay there."""
        size = 3 * height * width
        if len(self.bytes_N) < size:
            # A place that outlives an inference mode it was first asked for in: training writes to it as well.
            with torch.inference_mode(False):
                self.bytes_N = torch.empty(size, dtype=torch.uint8)
        return self.bytes_N[:size].view(1, height, width, 3).permute(0, 3, 1, 2)


def to_tensor(image: Image.Image) -> Tensor:
    """The pixels as uint8 [C, H, W], in memory as Pillow has them. Raises ``ValueError`` unless the image is RGB."""
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB image, found mode {image.mode}; open_picture returns RGB")
    return planes(np.array(image))


def planes(pixels_HWC: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] as [3, H, W] of the same memory."""
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)
