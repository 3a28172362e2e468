"""Frames of films and animations: which they are, against a reference written out, and what broken files give."""

from __future__ import annotations

import io
import random
import struct
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from film_fixture import HEIGHT, WIDTH, animation, number_in, picture_of, seen, write_film
from mm15.base.errors import MissingExtra, PictureError
from mm15.images import film as film_module
from mm15.images.animation import Animation
from mm15.images.film import Film, film_frames
from mm15.images.video import moments, shown_at, spread

pytestmark = pytest.mark.video


def reference(begins: list[float], length: float, count: int, start: float = 0.0) -> list[int]:
    """The frame that is on show in the middle of every span, by looking at all of them."""
    wanted = [start + (k + 0.5) * (length - start) / count for k in range(count)]
    return [max([n for n, begin in enumerate(begins) if begin <= at], default=0) for at in wanted]


def uneven(count: int, seed: int) -> list[int]:
    """Ticks of milliseconds, some frames seen for long."""
    rng = random.Random(seed)
    return list(accumulate(rng.choice([1, 2, 5, 40, 200]) for _ in range(count)))


def test_moments_are_the_middle_of_equal_spans():
    assert [float(at) for at in moments(4, Fraction(2), Fraction(10))] == [3.0, 5.0, 7.0, 9.0]
    assert spread(4, 100) == [12, 37, 62, 87] and spread(3, 1) == [0, 0, 0] and spread(1, 9) == [4]
    assert spread(6, 3) == [0, 0, 1, 1, 2, 2]
    assert shown_at([Fraction(1), Fraction(2)], [Fraction(0), Fraction(3, 2), Fraction(2)]) == [0, 0, 1]
    for wrong in ((0, Fraction(1)), (2, Fraction(0))):
        with pytest.raises(ValueError, match="there are none"):
            moments(wrong[0], Fraction(0), wrong[1])
    with pytest.raises(ValueError, match="start at 1"):
        spread(1, 0)


@pytest.mark.parametrize(
    ("codec", "ending"),
    [
        ("libx264", "mp4"),
        ("libx264", "mkv"),
        ("libx264", "mov"),
        ("libx264", "ts"),
        ("mpeg4", "avi"),
        ("libx265", "mp4"),
        ("libvpx-vp9", "webm"),
        ("mpeg2video", "mkv"),
    ],
)
def test_constant_rate(codec: str, ending: str, tmp_path: Path):
    for count, gap in ((1, 10), (7, 10), (120, 10), (120, 500)):
        path = write_film(tmp_path / f"{count}-{gap}.{ending}", range(count), codec=codec, gap=gap)
        with path.open("rb") as file, Film(file) as film:
            found = seen(film.frames(24))
        assert found == reference([n / 25 for n in range(count)], count / 25, 24) == spread(24, count), (count, gap)


@pytest.mark.parametrize(("ending", "b_frames"), [("mp4", "2"), ("mp4", "0"), ("mkv", "2")])
def test_variable_rate(ending: str, b_frames: str, tmp_path: Path):
    for seed in range(3):
        ticks = uneven(200, seed)
        path = write_film(tmp_path / f"{seed}.{ending}", ticks, Fraction(1, 1000), bf=b_frames)
        begins = [(tick - ticks[0]) / 1000 for tick in ticks]
        for start, end in ((0.0, 0.0), (2.5, 4.0), (1.0, 999.0)):
            with path.open("rb") as file, Film(file) as film:
                found = seen(film.frames(24, start, end))
                length = min(end, film.seconds) if end else film.seconds
            assert found == reference(begins, length, 24, start), (seed, start, end)


def test_few_frames_are_decoded_and_none_twice_over(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", range(1500), gap=50)
    with path.open("rb") as file, Film(file, threads=1) as film:
        assert seen(film.frames(6)) == spread(6, 1500)
        decoded = film_module.MOST_FRAMES - film._frames_left
    assert decoded < 6 * 50
    path = write_film(tmp_path / "b.mp4", range(400), gap=1000, sc_threshold="0")
    with path.open("rb") as file, Film(file, threads=1) as film:
        assert seen(film.frames(24)) == spread(24, 400)
        assert film_module.MOST_FRAMES - film._frames_left <= 400 + 8, "goes on from where it is"


def test_a_film_without_enough_key_frames_ends_at_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_film(tmp_path / "a.mp4", range(300), gap=1000, sc_threshold="0", bf="0")
    monkeypatch.setattr(film_module, "MOST_FRAMES", 100)
    found = film_frames(path.read_bytes(), 6)
    assert seen(found) == [25, 75, None, None, None, None]
    assert "more than 100 frames" in found[-1].reason and "a key frame every few seconds" in found[-1].reason


@pytest.mark.parametrize(("turn", "shape"), [(0, (48, 64)), (90, (64, 48)), (180, (48, 64)), (270, (64, 48))])
def test_turned_films_come_upright(turn: int, shape: tuple[int, int], tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", range(3), turn=turn)
    (frame,) = film_frames(path.read_bytes(), 1)
    assert frame.pixels_HWC is not None and frame.pixels_HWC.shape == (*shape, 3)
    # Undone, it is the picture again: a display rotation is counterclockwise, as np.rot90 is.
    assert number_in(np.rot90(frame.pixels_HWC, -turn // 90)) == 1


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", range(3), ratio=Fraction(3, 2))
    (frame,) = film_frames(path.read_bytes(), 1)
    assert frame.pixels_HWC is not None and frame.pixels_HWC.shape == (HEIGHT, WIDTH * 3 // 2, 3)
    assert number_in(frame.pixels_HWC) == 1


def test_a_damaged_middle_costs_its_own_frames_only(tmp_path: Path):
    whole = write_film(tmp_path / "a.mp4", range(300), bf="2").read_bytes()
    for place in range(1, 6):
        data = bytearray(whole)
        first, length = len(data) * place // 10, len(data) // 10
        data[first : first + length] = random.Random(0).randbytes(length) if place % 2 else bytes(length)
        found = film_frames(bytes(data), 24)
        wanted = spread(24, 300)
        good = [(number, right) for number, right in zip(seen(found), wanted, strict=True) if number is not None]
        assert all(number == right for number, right in good), "what is given is good"
        assert 12 <= len(good) < 24 and sum(frame.pixels_HWC is None for frame in found) == 24 - len(good)
        assert {frame.reason for frame in found if frame.pixels_HWC is None} != {""}


def test_what_is_cut_off_or_claims_too_much_is_divided_as_it_is(tmp_path: Path):
    whole = write_film(tmp_path / "a.mkv", range(300)).read_bytes()
    found = [number for number in seen(film_frames(whole[: len(whole) // 2], 24)) if number is not None]
    assert len(found) == 24 and found == sorted(set(found)) and 100 < found[-1] < 200
    claims = bytearray(write_film(tmp_path / "b.mkv", range(300)).read_bytes())
    at = claims.index(b"\x44\x89\x88") + 3  # the element Duration, in milliseconds
    claims[at : at + 8] = struct.pack(">d", 36_000_000.0)
    with Film(bytes(claims)) as film:
        assert film.seconds == 36_000
        assert seen(film.frames(24)) == spread(24, 300)


def test_the_start_of_a_file_whose_end_is_missing(tmp_path: Path):
    import av

    source_path = write_film(tmp_path / "a.mp4", range(300))
    with (
        av.open(str(source_path)) as source,
        av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "b.mp4").read_bytes()
    found = seen(film_frames(data[: len(data) * 7 // 10], 24))
    good = [(n, right) for n, right in zip(found, spread(24, 300), strict=True) if n is not None]
    assert 3 < len(good) < 24 and all(n == right for n, right in good) and found[-1] is None


def test_no_film(tmp_path: Path):
    import av

    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        for number in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = 48000, number * 1024
            container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "z.mp4"), "w") as container:
        empty = container.add_stream("libx264", rate=25)
        empty.width, empty.height, empty.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    target = write_film(tmp_path / "t.mp4", range(5))
    playlist = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n".encode()
    for data, reason in (
        ((tmp_path / "a.m4a").read_bytes(), "without a video stream .it holds audio"),
        ((tmp_path / "z.mp4").read_bytes(), "without a video stream"),
        (b"text", "not a readable film"),
        (playlist, "not a readable film"),
        (f"ffconcat version 1.0\nfile '{target}'\n".encode(), "not a readable film"),
        (target.read_bytes()[:40], "not a readable film"),
    ):
        with pytest.raises(PictureError, match=f"here.mp4: .*{reason}"):
            film_frames(data, 3, name="here.mp4")
    with pytest.raises(PictureError, match=r"without frames from 9 s on: it is 0.20 s long"):
        film_frames(target.read_bytes(), 3, 9.0)


def test_films_over_the_pixel_budget_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_film(tmp_path / "a.mp4", range(3)).read_bytes()
    monkeypatch.setattr(film_module, "BUDGET", film_module.BUDGET.__class__(max_pixels=64 * 48 - 1))
    with pytest.raises(PictureError, match="64 x 48 px is more than the 3071 pixels"):
        Film(data)


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mm15\[video\]'"):
        Film(b"film")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_are_seen_by_their_times(form: str):
    lengths = [100, 300, 40, 1000, 60, 500]
    shown = Animation(animation(range(3, 9), lengths, form))
    assert (shown.width, shown.height, shown.seconds) == (64, 48, 2.0)
    begins = [at / 1000 for at in (0, *accumulate(lengths))][:-1]
    assert seen(shown.frames(24)) == [3 + n for n in reference(begins, 2.0, 24)]
    assert seen(shown.frames(5, 0.4, 1.5)) == [3 + n for n in reference(begins, 1.5, 5, 0.4)]
    with pytest.raises(PictureError, match=r"no frames from 7 s on: it is 2.00 s long"):
        next(shown.frames(2, 7.0))


def test_animations_at_the_edges(monkeypatch: pytest.MonkeyPatch):
    assert seen(Animation(animation([5, 6], [0, 0])).frames(4)) == [5, 5, 6, 6], "no time counts as a tenth of a second"
    still = io.BytesIO()
    Image.fromarray(picture_of(9)).save(still, "PNG")
    assert seen(Animation(still.getvalue()).frames(2)) == [9, 9]
    data = animation(range(1, 30), [100] * 29)
    cut = list(Animation(data[: len(data) // 2]).frames(12))
    good = [number for number in seen(cut) if number is not None]
    assert good == sorted(good) and good[0] == 1 and len(good) >= 10 and good[-1] < 20
    monkeypatch.setattr("mm15.images.animation.MOST_FRAMES", 28)
    with pytest.raises(PictureError, match=r"an animation of 29 frames .* save it as a film"):
        Animation(data)
