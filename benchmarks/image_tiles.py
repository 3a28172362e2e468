"""JPEG bytes → normalised tiles, beside the processors of transformers, in one run.

    python benchmarks/image_tiles.py [--images 24] [--rounds 5]

Both sides decode, resize to the same grid of tiles, add an overview and normalise to fp32, over the same bytes,
two threads each, warm. Our pixels are compared with a plain decode and one bicubic resize of the whole picture.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from mm15.build.materials import Materials
from mm15.images.pixels import open_pixels
from mm15.images.split import SplitMode, SplitPolicy, split_image
from mm15.model.sizes import CLIP_MEAN, CLIP_STD
from mm15.model.vit import normalise

THREADS = 2


def photos(count: int, width: int, height: int) -> list[bytes]:
    """Real photographs scaled to one size, as JPEG of quality 90."""
    pictures = Materials().photos("train")
    made = []
    for index in range(count):
        picture = pictures[index % len(pictures)].resize((width, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def ours(policy: SplitPolicy) -> Callable[[bytes], torch.Tensor]:
    """What the processor does with a picture, then what the vision encoder does with its tiles."""
    return lambda data: normalise(split_image(open_pixels(data, "photo"), policy).tiles_NCHW, CLIP_MEAN, CLIP_STD)


def theirs(processor: object) -> Callable[[bytes], object]:
    return lambda data: processor(Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")  # type: ignore[operator]


def rate(work: Callable[[bytes], object], data: Sequence[bytes], rounds: int) -> list[float]:
    """Images per second of every round, after one that is not counted."""
    rates = []
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(rounds + 1):
            start = time.perf_counter()
            list(pool.map(work, data))
            rates.append(len(data) / (time.perf_counter() - start))
    return rates[1:]


def difference(data: bytes, policy: SplitPolicy) -> float:
    """Largest difference of our tiles' content from a plain resize of the picture, as a share of the pixel range."""
    cut = split_image(open_picture(data, "photo"), policy)
    grid, r = cut.grid, policy.tile
    plain = Image.open(io.BytesIO(data)).convert("RGB").resize((grid.width, grid.height), Image.Resampling.BICUBIC)
    tiles = cut.tiles_NCHW[: grid.rows * grid.cols].view(grid.rows, grid.cols, 3, r, r)
    whole = tiles.permute(0, 3, 1, 4, 2).reshape(grid.rows * r, grid.cols * r, 3)[: grid.height, : grid.width]
    return float(np.abs(whole.numpy().astype(int) - np.asarray(plain).astype(int)).max()) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # The two threads are two pictures at a time.
    for width, height in ((1344, 1008), (448, 336)):
        data = photos(arguments.images, width, height)
        for name, processor, tile in (
            ("LlavaNext", LlavaNextImageProcessorPil(), 336),
            ("LlavaOnevision", LlavaOnevisionImageProcessorPil(), 384),
        ):
            reference = theirs(processor)
            tiles = reference(data[0])["pixel_values"][0].shape[0] - 1  # type: ignore[index]
            policy = SplitPolicy(tile=tile, n_min=tiles, n_max=tiles, mode=SplitMode.DYNAMIC)
            run = ours(policy)
            found = run(data[0])
            assert found.shape[0] == tiles + 1, (found.shape, tiles)
            mine, their = rate(run, data, arguments.rounds), rate(reference, data, arguments.rounds)
            ratio = statistics.median(mine) / statistics.median(their)
            print(
                f"{width}x{height} -> {tiles} + 1 tiles of {tile}: mm15 {statistics.median(mine):.1f} images/s, "
                f"{name} {statistics.median(their):.1f}, ratio {ratio:.2f}; "
                f"largest difference {max(difference(item, policy) for item in data):.4f} of the range",
                flush=True,
            )


if __name__ == "__main__":
    main()
