"""JPEG bytes → normalised tiles, beside the processors of transformers, in one run.

    python benchmarks/image_tiles.py [--images 24] [--rounds 7]

Both sides decode, resize to the same grid of tiles of the same side, add an overview and normalise to fp32, over the
same bytes, two threads each, warm. Rounds alternate, so that what else the machine does weighs on both; tiles are let
go as they come, as a loader does. Our pixels, overview included, are compared with a plain decode and one bicubic
resize of the whole picture.
"""

from __future__ import annotations

import argparse
import io
import os
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
from mm15.images.split import SplitMode, SplitPolicy, split_image
from mm15.images.tensors import open_pixels
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


def run(pool: ThreadPoolExecutor, work: Callable[[bytes], object], data: Sequence[bytes]) -> tuple[float, float]:
    """Seconds of the clock and of the processor for one picture."""
    start, before = time.perf_counter(), os.times()
    for _ in pool.map(work, data):
        pass
    seconds, after = time.perf_counter() - start, os.times()
    return seconds / len(data), (after.user + after.system - before.user - before.system) / len(data)


def difference(data: bytes, policy: SplitPolicy) -> int:
    """Largest difference of our tiles from plain resizes of the picture, in steps of 255."""
    cut = split_image(open_pixels(data, "photo"), policy)
    photo, r = Image.open(io.BytesIO(data)).convert("RGB"), policy.tile
    count = cut.grid.rows * cut.grid.cols
    tiles = cut.tiles_NCHW[:count].view(cut.grid.rows, cut.grid.cols, 3, r, r)
    whole_CHW = tiles.permute(2, 0, 3, 1, 4).reshape(3, cut.grid.rows * r, cut.grid.cols * r)
    scale = r / max(photo.size)
    pairs = [(whole_CHW, (cut.grid.width, cut.grid.height))]
    pairs += [(tile, (round(photo.width * scale), round(photo.height * scale))) for tile in cut.tiles_NCHW[count:]]
    return max(_apart(pixels_CHW, photo.resize(size, Image.Resampling.BICUBIC)) for pixels_CHW, size in pairs)


def _apart(pixels_CHW: torch.Tensor, plain: Image.Image) -> int:
    found_HWC = pixels_CHW[:, : plain.height, : plain.width].permute(1, 2, 0).numpy()
    return int(np.abs(found_HWC.astype(int) - np.asarray(plain)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # The two threads are two pictures at a time.
    # Made without arguments the processor cuts tiles of 224 px; its published checkpoints, of 336 px.
    published = LlavaNextImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    for width, height in ((1344, 1008), (448, 336)):
        data = photos(arguments.images, width, height)
        for name, processor in (
            ("LlavaNext", LlavaNextImageProcessorPil()),
            ("LlavaNext of 336 px", published),
            ("LlavaOnevision", LlavaOnevisionImageProcessorPil()),
        ):
            reference = theirs(processor)
            wanted = reference(data[0])["pixel_values"][0].shape  # type: ignore[index]
            tiles, tile = wanted[0] - 1, wanted[-1]
            policy = SplitPolicy(tile=tile, n_min=tiles, n_max=tiles, mode=SplitMode.DYNAMIC)
            sides = (ours(policy), reference)
            assert sides[0](data[0]).shape == wanted, wanted
            with ThreadPoolExecutor(THREADS) as pool:
                rounds = [[run(pool, side, data) for side in sides] for _ in range(arguments.rounds + 1)][1:]
            mine, their = (statistics.median(round[side][0] for round in rounds) for side in (0, 1))
            my_cpu, their_cpu = (1000 * statistics.median(round[side][1] for round in rounds) for side in (0, 1))
            ratios = sorted(round[1][0] / round[0][0] for round in rounds)
            worst = max(difference(item, policy) for item in data)
            print(
                f"{width}x{height} -> {tiles} + 1 tiles of {tile}: mm15 {1 / mine:.1f} images/s, "
                f"{name} {1 / their:.1f}, ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"processor time {my_cpu:.1f} and {their_cpu:.1f} ms an image; largest difference {worst}/255",
                flush=True,
            )


if __name__ == "__main__":
    main()
