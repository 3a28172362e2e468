"""24 frames of a ten-minute film: seeking, beside decoding all of it with PyAV, and beside decord and torchcodec.

    python benchmarks/video_frames.py [--seconds 600] [--rounds 3] [--folder films]

H.264, 1280 x 720, 25 frames a second, a key frame every 250 frames in one film and every 50 in another: real
photographs, panned and cut, with noise of a camera. All sides take the same 24 frame numbers of the same file to RGB,
two threads each, the file in the page cache; rounds alternate. decord and torchcodec take part where they can be
imported. The films stay in ``--folder`` and are used again.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mm15.build.materials import Materials
from mm15.images.film import Film
from mm15.images.video import spread

WIDTH, HEIGHT, RATE, FRAMES, THREADS = 1280, 720, 25, 24, 2
Side = Callable[[Path, list[int]], list[np.ndarray]]


def write_films(folder: Path, seconds: int, gaps: tuple[int, ...]) -> list[Path]:
    """One film for every distance of key frames, if it is not there yet."""
    paths = [folder / f"{seconds}s-key{gap}.mp4" for gap in gaps]
    photos = [photo.resize((WIDTH * 3 // 2, HEIGHT * 3 // 2)) for photo in Materials().photos("train")[:12]]
    canvases = [np.asarray(photo.convert("RGB")).clip(0, 251) for photo in photos]
    noise = np.random.default_rng(0).integers(0, 5, (8, HEIGHT, WIDTH, 3), np.uint8)
    for path, gap in zip(paths, gaps, strict=True):
        if path.exists():
            continue
        with av.open(str(path.with_suffix(".part")), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gap
            # Key frames come at the stated distance only: no extra ones at cuts.
            stream.options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0", "keyint_min": str(gap)}
            for number in range(seconds * RATE):
                shot, inside = divmod(number, 6 * RATE)
                canvas = canvases[shot % len(canvases)]
                x, y = (inside * 4) % (WIDTH // 2), (inside * 2) % (HEIGHT // 2)
                seen = canvas[y : y + HEIGHT, x : x + WIDTH] + noise[number % len(noise)]
                frame = av.VideoFrame.from_ndarray(seen, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        path.with_suffix(".part").rename(path)
    return paths


def ours(path: Path, numbers: list[int]) -> list[np.ndarray]:
    with path.open("rb") as file, Film(file, str(path), THREADS) as film:
        return [frame.pixels_HWC for frame in film.frames(len(numbers)) if frame.pixels_HWC is not None]


def decode_all(path: Path, numbers: list[int]) -> list[np.ndarray]:
    wanted = set(numbers)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        return [f.to_ndarray(format="rgb24") for n, f in enumerate(container.decode(stream)) if n in wanted]


def peers() -> dict[str, Side]:
    found: dict[str, Side] = {}
    try:
        import decord

        def with_decord(path: Path, numbers: list[int]) -> list[np.ndarray]:
            return list(decord.VideoReader(str(path), num_threads=THREADS).get_batch(numbers).asnumpy())

        found[f"decord {decord.__version__}"] = with_decord
    except (ImportError, OSError, RuntimeError) as error:
        print(f"decord takes no part: {type(error).__name__}: {str(error).splitlines()[0]}")
    try:
        import torchcodec
        from torchcodec.decoders import VideoDecoder

        def with_torchcodec(path: Path, numbers: list[int]) -> list[np.ndarray]:
            decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=THREADS, seek_mode=seek)
            return list(decoder.get_frames_at(numbers).data.numpy())

        seek = "approximate"
        found[f"torchcodec {torchcodec.__version__} ({seek})"] = with_torchcodec
    except (ImportError, OSError, RuntimeError) as error:
        print(f"torchcodec takes no part: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "mm15-films")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sides: dict[str, Side] = {"mm15": ours, "PyAV, all frames": decode_all, **peers()}
    numbers = spread(FRAMES, arguments.seconds * RATE)
    for path in write_films(arguments.folder, arguments.seconds, (250, 50)):
        path.read_bytes()
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        seen: dict[str, list[np.ndarray]] = {}
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                began = time.perf_counter()
                seen[name] = side(path, numbers)
                seconds[name].append(time.perf_counter() - began)
        mine = seconds["mm15"]
        print(f"{path.name}, {path.stat().st_size / 1e6:.0f} MB, {FRAMES} frames, median of {arguments.rounds} rounds:")
        for name, took in seconds.items():
            ratios = sorted(their / my for their, my in zip(took, mine, strict=True))
            apart = max(_apart(a, b) for a, b in zip(seen["mm15"], seen[name], strict=True))
            print(
                f"  {name:<32} {statistics.median(took):7.2f} s ({min(took):.2f} to {max(took):.2f}), "
                f"{statistics.median(ratios):6.2f} of mm15's time ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
                f"mean difference from mm15 at most {apart:.2f}/255",
                flush=True,
            )
    print(f"largest resident set of all sides together: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def _apart(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Mean difference of two frames at a quarter of their size."""
    small = [np.asarray(Image.fromarray(one).resize((WIDTH // 4, HEIGHT // 4)), np.int16) for one in (mine, theirs)]
    return float(np.abs(small[0] - small[1]).mean())


if __name__ == "__main__":
    main()
