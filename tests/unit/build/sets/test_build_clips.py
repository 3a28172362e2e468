"""mm15 data build clips: the user's films on both sides, formats, sizes, and files that are no films by name."""

from __future__ import annotations

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from mm15.base.rng import numpy_rng
from mm15.build._film import write_clip
from sets_fixture import build, dropped, rows, samples


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
