"""mm15 data build screens: the user's pages on both sides, formats, sizes, and what was left out by name."""

from __future__ import annotations

import json

import pytest
import yaml
from PIL import Image

from mm15.base.errors import ConfigError
from sets_fixture import build, dropped, rows, samples

PAGE = """<!doctype html><title>Page {k}</title><link rel=stylesheet href="../style.css"><h1>Number {k}</h1>
<button aria-label="send the form">Send {k}</button><p>Words of page {k}</p><input type=checkbox aria-label=agree>
<img src="https://example.com/x.png">"""

pytestmark = [pytest.mark.browser, pytest.mark.ui]


@pytest.fixture
def pages(tmp_path):
    folder = tmp_path / "site"
    (folder / "pages").mkdir(parents=True)
    (folder / "style.css").write_text("body { background: rgb(200, 220, 240); font-family: sans-serif }")
    for k in range(10):
        (folder / "pages" / f"{k}.html").write_text(PAGE.format(k=k))
    (folder / "pages" / "bare.html").write_text("nothing")
    return folder


def test_your_pages_on_both_sides_in_their_own_style(pages, tmp_path):
    report = build("screens", tmp_path / "d", pages, n=22, heldout=0.2)
    shown = {}
    for side in ("", "heldout"):
        folder = tmp_path / "d" / side
        listed = yaml.safe_load((folder / "sources.yaml").read_text())["sources"]
        assert {entry["format"] for entry in listed} == {"ferret-json", "rico-ui"}
        said = " ".join(
            turn["value"] for row in rows(folder / "screens_widget_listing.jsonl") for turn in row["conversations"]
        )
        shown[side] = {k for k in range(10) if f"Number {k}" in said}
        with Image.open(folder / rows(folder / "screens_ocr.jsonl")[0]["image"]) as picture:
            assert picture.convert("RGB").getpixel((2, picture.height - 2)) == pytest.approx((200, 220, 240), abs=6)
    assert shown[""] and shown["heldout"] and not shown[""] & shown["heldout"]
    assert len(shown[""] | shown["heldout"]) >= 9
    assert {reason: {at.rpartition("/")[2] for at in where} for reason, where in dropped(tmp_path / "d").items()} == {
        "fewer than three elements can be seen": {"bare.html"},
        "a page asked for something outside of the folders": {"x.png"},
    }
    assert report["sides"][0]["rows"]["screens-ocr"] >= 18
    assert all(read for read in samples(tmp_path / "d").values())


def test_only_one_format_and_only_small_windows(tmp_path):
    build("screens", tmp_path / "f", n=3, formats=("ferret",), size=600)
    build("screens", tmp_path / "r", n=3, formats=("rico",), size=600)
    assert not list((tmp_path / "f").rglob("*.csv")) and not list((tmp_path / "f" / "screens").rglob("*.json"))
    assert not list((tmp_path / "r").glob("screens_*.jsonl")) and len(list((tmp_path / "r").rglob("*.csv"))) == 3
    for row in rows(tmp_path / "f" / "screens_ocr.jsonl"):
        assert (row["image_w"], row["image_h"]) == (320, 568)
    tree = json.loads((tmp_path / "r" / "screens" / "combined" / "000000.json").read_text())
    assert tree["activity"]["root"]["bounds"] == [0, 0, 1442, 2560]
    with pytest.raises(ConfigError, match="smallest window is 568"):
        build("screens", tmp_path / "s", n=3, size=300)
    with pytest.raises(ConfigError, match=r"no \.html or \.htm or \.xhtml file"):
        build("screens", tmp_path / "t", tmp_path / "f", n=3)
