"""Films: frames out of files and into files, with PyAV (the optional package of the extra ``video``)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from mm15.base.errors import ConfigError, DataError
from mm15.base.rng import seed_of
from mm15.build.materials import STRIP_HEIGHT, WORD_FOLDS, Materials, Split
from mm15.images.film import av_package

PURPOSE = "Reading and writing clips"
FPS = 8
"""Frames a second of the clips that are written."""
ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg")
SIDE = 240
"""Longest side in px at which a film is held."""
MOST = 600
"""Frames that are taken of a film, at ``FPS`` a second: 75 seconds."""
JUMP = 28.0
"""Mean change of a pixel, of 255, from one frame to the next, from which it is taken as a cut."""
SHORTEST = 2 * FPS
"""Frames of a shot that is long enough to be used."""


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames ``first`` to ``last`` (not included) of a film, without a cut between them."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Film:
    """A film file and its shots of at least ``SHORTEST`` frames."""

    file: Path
    shots: tuple[Shot, ...]

    def frame(self, number: int) -> Image.Image:
        """A frame as RGB, longest side at most ``SIDE`` px. Do not change it in place."""
        return frames_of(self.file)[number]


@dataclass(frozen=True, slots=True)
class Strip(Film):
    """A shipped film whose frames stand one below the other in one picture: needs no PyAV."""

    def frame(self, number: int) -> Image.Image:
        """A frame as RGB. Do not change it in place."""
        return _strip_frames(self.file)[number]


@lru_cache(maxsize=8)
def _strip_frames(file: Path) -> list[Image.Image]:
    with Image.open(file) as opened:
        whole = opened.convert("RGB")
    tops = range(0, whole.height, STRIP_HEIGHT)
    return [whole.crop((0, top, whole.width, top + STRIP_HEIGHT)) for top in tops]


def open_strips(materials: Materials, split: Split) -> tuple[Film, ...]:
    """The shipped films of one side, as far as they are there as strips."""
    return tuple(Strip(file, shots_of(_strip_frames(file))) for file in materials.strip_files(split))


@lru_cache(maxsize=8)
def frames_of(file: Path) -> list[Image.Image]:
    """The frames of a film that are nearest to ``FPS`` a second, at most ``MOST``.

    Raises:
        DataError: not a readable film.
    """
    av = av_package(PURPOSE)
    frames: list[Image.Image] = []
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            start: float | None = None
            for frame in container.decode(stream):
                at = float(frame.time or 0)
                start = at if start is None else start
                # The first frame at or after every tick of the wanted rate.
                while at - start >= len(frames) / FPS - 1e-6 and len(frames) < MOST:
                    picture = frame.to_image()
                    picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
                    frames.append(picture)
                if len(frames) >= MOST:
                    break
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise DataError(f"{file}: not a readable film ({error})") from error
    if not frames:
        raise DataError(f"{file}: a film without frames")
    return frames


def shots_of(frames: list[Image.Image]) -> tuple[Shot, ...]:
    """Runs of frames between changes that may be cuts; those shorter than ``SHORTEST`` are left out."""
    small = [np.asarray(frame.convert("RGB").resize((32, 18)), np.int16) for frame in frames]
    jumps = [k for k in range(1, len(small)) if float(np.abs(small[k] - small[k - 1]).mean()) > JUMP]
    edges = [0, *jumps, len(frames)]
    runs = [Shot(first, last) for first, last in pairwise(edges)]
    return tuple(shot for shot in runs if len(shot) >= SHORTEST)


def open_films(
    materials: Materials, split: Split, folder: Path | None = None, files: Sequence[Path] | None = None
) -> tuple[Film, ...]:
    """The films of one side, shipped and the user's; files that are no films are left out with a warning.

    Args:
        folder: the user's films, of which one in ten is held out by the hash of its bytes; footage that
            ``splits.yaml`` knows by name is on its side.
        files: films of the user that are on this side already.

    Raises:
        ConfigError: no such folder.
        MissingExtra: PyAV is not installed.
    """
    av_package(PURPOSE)
    chosen = [*materials.clip_files(split), *(files or ())]
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError([f"no such folder: {folder}"], "clips")
        given = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
        if not given:
            raise ConfigError([f"no film ({', '.join(ENDINGS)}) in {folder}"], "clips")
        for file in given:
            known = materials.footage_side(str(file.relative_to(folder)))
            if (known or ("heldout" if _is_held(file) else "train")) == split:
                chosen.append(file)
    films = []
    for file in chosen:
        try:
            film = Film(file, shots_of(frames_of(file)))
        except DataError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        if film.shots:
            films.append(film)
    return tuple(films)


def _is_held(file: Path) -> bool:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return seed_of(0, "fold", digest) % WORD_FOLDS == 0


def write_clip(path: Path, frames: Iterable[Image.Image]) -> None:
    """RGB frames of one size, both sides even, as an H.264 file at ``FPS`` a second. Same frames, same bytes.

    Raises:
        MissingExtra: PyAV is not installed.
    """
    av = av_package(PURPOSE)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.pix_fmt = "yuv420p"
        # Look-ahead and adaptive quantisation of x264 read memory that was never written: bytes would vary.
        steady = {"tune": "zerolatency", "x264-params": "mbtree=0:aq-mode=0"}
        stream.options = {"crf": "16", "preset": "fast", "threads": "1", **steady}
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(frames):
            if number == 0:
                stream.width, stream.height = picture.size
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_clip(path: Path) -> Iterator[Image.Image]:
    """All frames of a clip as RGB."""
    av = av_package(PURPOSE)
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            yield frame.to_image()
