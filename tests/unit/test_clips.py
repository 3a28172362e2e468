"""Clips through the one door: what the processor makes of them, and where their frames may lie."""

from __future__ import annotations

import io
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from film_fixture import animation, picture_of, seen, write_film
from mm15.base.errors import PictureError, SkipSample
from mm15.base.types import Box, Category, ImagePart, MediaRef, Message, RegionPart, Sample, VideoPart, assistant, user
from mm15.clips import open_clip
from mm15.images.split import SplitPolicy
from mm15.images.video import spread
from mm15.io.clips import folder_frames
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer

pytestmark = pytest.mark.video
TILE, PER_TILE = 32, 3
TOKENIZER = train_tokenizer(["(0,1,2): some text"], SPECIALS)


def processor(root: str = "", max_tokens: int = 4096) -> Processor:
    config = ProcessorConfig(split=SplitPolicy(tile=TILE), tokens_per_tile=PER_TILE, max_tokens=max_tokens)
    return Processor(config, TOKENIZER, root)


def asking(*parts) -> Sample:
    messages: tuple[Message, ...] = (user(*parts, "What?"), assistant("Yes."))
    return Sample("set/0", "set", Category.VIDEO, messages)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture_of(number)).save(file, "PNG")
    return file.getvalue()


def film(path: Path, frames: int = 50) -> VideoPart:
    return VideoPart(MediaRef(str(write_film(path, range(frames)))), 6)


def frames_of(part: VideoPart) -> list[int | None]:
    with open_clip(part) as clip:
        return seen(clip.frames())


def test_a_clip_is_so_many_pictures_each_whole_and_numbered(tmp_path: Path):
    clip = film(tmp_path / "a.mp4")
    still = ImagePart(MediaRef(data=png(7)))
    sample = asking(still, clip, still)
    encoded = processor().encode(sample)
    text = TOKENIZER.decode(encoded.tokens_T.tolist(), skip_special=False).replace("<|image|>" * PER_TILE, "•")
    corners = ("(1,1)", "(1,2)", "(2,1)", "(2,2)", "(0,0)")
    before, after = ("".join(f"({k},{corner[1:]}•" for corner in corners) for k in (0, 7))
    assert before + "".join(f"({k},0,0)•" for k in range(1, 7)) + after + "What?" in text
    assert processor().count(sample) == (encoded.num_tokens, encoded.num_tiles) and encoded.num_tiles == 16
    measured = processor().measure(sample)
    assert (measured.tokens, measured.tiles) == (encoded.num_tokens, 16) and measured.sizes == ((64, 48),) * 8
    alone = processor().encode(asking(clip)).tiles_NCHW
    assert torch.equal(encoded.tiles_NCHW[5:11], alone)
    with open_clip(clip) as opened:
        shown = [
            processor().encode(asking(ImagePart(MediaRef(data=_png_of(frame)), split=False)))
            for frame in opened.frames()
        ]
    assert torch.equal(alone, torch.cat([one.tiles_NCHW for one in shown])), "frames are cut as pictures are"


def _png_of(frame) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame.pixels_HWC).save(file, "PNG")
    return file.getvalue()


def test_twenty_four_frames_of_144_tokens_are_the_papers_3456(tmp_path: Path):
    wide = Processor(ProcessorConfig(split=SplitPolicy(tile=TILE), tokens_per_tile=144), TOKENIZER)
    clip = replace(film(tmp_path / "a.mp4"), frames=24)
    encoded = wide.encode(asking(clip))
    assert int((encoded.tokens_T == wide.image_token).sum()) == 24 * 144 == 3456
    with pytest.raises(SkipSample, match=r"more than max_tokens = 100; .*fewer frames of its clip"):
        processor(max_tokens=100).count(asking(clip))


def test_regions_count_pictures_without_frames(tmp_path: Path):
    small, large = (ImagePart(MediaRef(data=b""), side, 2 * side) for side in (100, 1000))
    region = RegionPart(Box(10, 10, 50, 50, image=1))
    sample = asking(small, film(tmp_path / "a.mp4"), large, region)
    spans = processor()._plan(sample, processor().config.split, False).spans
    text = "".join(TOKENIZER.decode(span.ids) for span in spans if hasattr(span, "ids"))
    assert "[10, 5, 50, 25]" in text
    with pytest.raises(SkipSample, match=r"is on picture 2 \(from 0\), but there are only 2"):
        processor().count(asking(small, film(tmp_path / "b.mp4"), large, RegionPart(Box(1, 1, 5, 5, image=2))))


def test_frames_lie_in_folders_tars_and_files_inside_of_files(tmp_path: Path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "notes.txt").write_text("no frame")
    assert [file.stem for file in folder_frames(folder)] == [str(number) for number in range(12)], "2 before 10"
    wanted = spread(6, 12)
    assert frames_of(VideoPart(MediaRef(str(folder)), 6)) == wanted
    made = film(tmp_path / "a.mp4")
    with tarfile.open(tmp_path / "frames.tar", "w") as tar:
        tar.add(folder, "clip")
    with tarfile.open(tmp_path / "outer.tar", "w") as tar:
        tar.add(tmp_path / "frames.tar", "0.frames.tar")
        tar.add(tmp_path / "a.mp4", "0.mp4")
    with tarfile.open(tmp_path / "outer.tar") as tar:
        inner = {info.name: info for info in tar.getmembers()}
    tars = [MediaRef(str(tmp_path / "frames.tar")), MediaRef(data=(tmp_path / "frames.tar").read_bytes())]
    outer = str(tmp_path / "outer.tar")
    tars += [MediaRef(outer, "0.frames.tar")]
    tars += [MediaRef(outer, "", inner["0.frames.tar"].offset_data, inner["0.frames.tar"].size)]
    for media in tars:
        assert frames_of(VideoPart(media, 6)) == wanted, media
    films = [made.media, MediaRef(outer, "0.mp4"), MediaRef(data=(tmp_path / "a.mp4").read_bytes())]
    films += [MediaRef(outer, "", inner["0.mp4"].offset_data, inner["0.mp4"].size)]
    for media in films:
        assert frames_of(VideoPart(media, 6)) == spread(6, 50), media
    (tmp_path / "a.gif").write_bytes(animation(range(6), [100] * 6))
    assert frames_of(VideoPart(MediaRef(str(tmp_path / "a.gif")), 3)) == [1, 3, 5]
    inside = processor(str(tmp_path)).encode(asking(VideoPart(MediaRef("clip"), 6)))
    assert torch.equal(inside.tiles_NCHW, processor().encode(asking(VideoPart(MediaRef(str(folder)), 6))).tiles_NCHW)
    with pytest.raises(SkipSample, match=r"without '..'"):
        processor(str(folder)).count(asking(VideoPart(MediaRef("../a.mp4"), 6)))


def test_bounds_of_pictures_need_their_rate(tmp_path: Path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(png(number))
    part = VideoPart(MediaRef(str(folder)), 3, start=1.0, end=3.0)
    assert frames_of(replace(part, fps=3.0)) == [4, 6, 8]
    assert frames_of(replace(part, fps=3.0, end=99.0)) == [4, 7, 10]
    with pytest.raises(SkipSample, match=r"how many of these pictures are a second is not known"):
        frames_of(part)
    with pytest.raises(SkipSample, match=r"no frames from 9 s on: the clip is 4\.00 s long"):
        frames_of(replace(part, fps=3.0, start=9.0, end=0.0))


def test_bounds_of_films(tmp_path: Path):
    part = film(tmp_path / "a.mp4")
    assert frames_of(replace(part, frames=5, start=1.0)) == [27, 32, 37, 42, 47]
    assert frames_of(replace(part, frames=2, start=0.4, end=0.8)) == [12, 17]
    for wrong, reason in (
        (replace(part, start=2.5), "no frames from 2.5 s on: the clip is 2.00 s long"),
        (replace(part, start=1.0, end=0.5), "nothing lies between 1 s and 0.5 s"),
        (replace(part, frames=0), "a clip of 0 frames"),
        (replace(part, frames=100_000), "a clip of 100000 frames; 1 to 4096"),
        (VideoPart(MediaRef(str(tmp_path / "none.mp4"))), "cannot be read: .*No such file"),
        (VideoPart(MediaRef(str(tmp_path))), "the folder holds no frames"),
    ):
        with pytest.raises(SkipSample, match=f"^set/0: .*{reason}"):
            processor().count(asking(wrong))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SkipSample, match="empty: 0 bytes"):
        processor().count(asking(VideoPart(MediaRef(str(tmp_path / "empty.mp4")))))


def test_nearest_good_frames_stand_for_damaged_ones_and_it_is_told(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", range(300))
    sample = asking(VideoPart(MediaRef(str(path)), 24))
    whole = processor().encode(sample).tiles_NCHW
    data = bytearray(path.read_bytes())
    first, length = len(data) * 4 // 10, len(data) // 10
    data[first : first + length] = random.Random(0).randbytes(length)
    path.write_bytes(data)
    with open_clip(VideoPart(MediaRef(str(path)), 24)) as clip:
        good = [k for k, frame in enumerate(clip.frames()) if frame.pixels_HWC is not None]
    assert 0 < clip.bad == 24 - len(good) == len(clip.reasons)
    with pytest.warns(UserWarning, match=f"{clip.bad} of 24 frames cannot be decoded"):
        encoded = processor().encode(sample)
    assert processor().count(sample) == (encoded.num_tokens, encoded.num_tiles)
    for k in range(24):
        stand_in = min(good, key=lambda one: abs(one - k))
        assert torch.equal(encoded.tiles_NCHW[k], whole[stand_in])
    data[100 : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 104)
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"^set/0: .*none of 24 frames can be decoded: damaged"):
        processor().encode(sample)


def test_pictures_that_cannot_be_opened_among_others(tmp_path: Path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(number) if number else b"<html>")
    part = VideoPart(MediaRef(str(tmp_path)), 4)
    assert frames_of(part) == [None, 1, 2, 3]
    for number in range(1, 4):
        (tmp_path / f"{number}.png").write_bytes(b"<html>")
    with pytest.raises(PictureError, match=r"none of 4 pictures can be opened: 0.png: not a readable"):
        open_clip(part)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path):
    part = film(tmp_path / "a.mp4")
    with open_clip(part) as clip:
        frames = clip.frames()
        next(frames)
        with (tmp_path / "a.mp4").open("ab") as file:
            file.write(b"more")
            file.flush()
            os.fsync(file.fileno())
        with pytest.raises(PictureError, match=r"a.mp4: the file changed while it was read"):
            list(frames)
