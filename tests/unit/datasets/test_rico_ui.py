"""RICO's annotations as published: CSVs, id lists, screens and view hierarchies on their 2560 canvas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError
from mm15.base.types import Box, Category, Point
from mm15.datasets import rico_ui
from mm15.datasets._prompts import SHORT
from rows_fixture import one, read_all, refusal, regions, samples, save_picture, write_json

pytestmark = pytest.mark.ui

BUTTON = {"bounds": [144, 256, 720, 512], "pointer": "b1", "class": "android.widget.Button"}


def screen(tmp_path: Path, width: int = 1080, height: int = 1920, *buttons: Any, name: str = "54") -> None:
    save_picture(tmp_path / f"combined/{name}.jpg", width, height)
    children = [{"bounds": [0, 0, 9, 9], "pointer": "a", "children": [None, *(buttons or (BUTTON,))]}, None]
    root = {"bounds": [0, 0, 1440, 2560], "pointer": "r", "children": children}
    write_json(tmp_path / f"combined/{name}.json", {"activity_name": "x", "activity": {"root": root}})


def summaries(tmp_path: Path) -> Path:
    path = tmp_path / "screen_summaries.csv"
    path.write_text('\ufeffscreenId,summary\n54,"a page, with login"\n54,sign in page\n77,list of songs\n', "utf-8")
    (tmp_path / "split").mkdir()
    (tmp_path / "split/train_screens.txt").write_text("54\n")
    return path


def widgets(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "widget_captions.csv"
    path.write_text("\n".join(["datasetId,screenId,nodeId,captions", *lines]), "utf-8")
    (tmp_path / "split").mkdir(exist_ok=True)
    (tmp_path / "split/train.txt").write_text("54\n")
    return path


def taps(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "rico_tap_annotations_idsonly.csv"
    path.write_text("\n".join(["img_id,object_id,label,raters_marked_tappable,split", *lines]), "utf-8")
    return path


def test_a_summary_is_a_row_and_knows_the_others_of_its_screen(tmp_path: Path):
    read = samples(read_all(rico_ui, summaries(tmp_path), tmp_path, Category.UI))
    assert [sample.messages[1].text for sample in read] == ["a page, with login", "sign in page"]
    assert read[0].meta["references"] == ["a page, with login", "sign in page"]
    assert read[0].images[0].media.path == str(tmp_path / "combined/54.jpg")
    assert len(read_all(rico_ui, tmp_path / "screen_summaries.csv", tmp_path, split="")) == 3
    with pytest.raises(ConfigError, match=r"dev_screens\.txt"):
        read_all(rico_ui, tmp_path / "screen_summaries.csv", tmp_path, split="dev")


@pytest.mark.parametrize(("width", "height", "scale"), [(1080, 1920, 0.75), (540, 960, 0.375), (1920, 1080, 0.75)])
def test_a_widget_is_found_by_its_path_and_scaled_from_the_canvas(
    tmp_path: Path, width: int, height: int, scale: float
):
    screen(tmp_path, width, height)
    path = widgets(tmp_path, "rico,54,0.0.1,go to login| sign in ", "nr,99,0.0,unseen", "rico,12,0.0,other split")
    read = samples(read_all(rico_ui, path, tmp_path, Category.UI, task="widget-captioning"))
    assert [sample.messages[1].text for sample in read] == ["go to login", "sign in"]
    assert regions(read[1]) == [Box(144 * scale, 256 * scale, 720 * scale, 512 * scale)]
    assert read[1].meta == {"node": "0.0.1", "references": ["go to login", "sign in"]}
    pointed = samples(read_all(rico_ui, path, tmp_path, task="widget-captioning", point_share=1))
    assert all(isinstance(regions(sample)[0], Point) for sample in pointed)


def test_label_0_is_tappable_and_the_split_is_a_column(tmp_path: Path):
    screen(tmp_path)
    path = taps(tmp_path, "54,b1,0,5,train", "54,b1,1,0,train", "54,b1,1,0,eval")
    read = samples(read_all(rico_ui, path, tmp_path, Category.UI, task="taperception"))
    assert [sample.messages[1].text for sample in read] == ["Yes", "No"]
    assert regions(read[0]) == [Box(108, 192, 540, 384)]
    assert all(sample.messages[0].text.endswith(SHORT) for sample in read), "as the benchmark asks"
    with pytest.raises(ConfigError, match="splits: eval, train"):
        read_all(rico_ui, path, tmp_path, task="taperception", split="test")


def test_what_lies_over_the_edge_is_cut(tmp_path: Path):
    screen(tmp_path, 540, 960, {"bounds": [-144, 2304, 1600, 2700], "pointer": "b1"})
    sample = one(read_all(rico_ui, taps(tmp_path, "54,b1,0,5,train"), tmp_path, task="taperception"))
    assert regions(sample) == [Box(0, 864, 540, 960)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("rico,54,0.3,a", "no node 0.3"),
        ("rico,54,0.1.0,a", "no node 0.1.0"),
        ("rico,54,0.x,a", "child numbers"),
        ("rico,54,0.0.1,", "an empty 'caption'"),
        ("rico,../54,0.0,a", "not the number of a screen"),
    ],
)
def test_broken_widgets_are_refused(tmp_path: Path, line: str, reason: str):
    screen(tmp_path)
    read = read_all(rico_ui, widgets(tmp_path, line), tmp_path, task="widget-captioning", split="")
    assert reason in refusal(read) and "widget_captions.csv:2 caption 0" in refusal(read)


@pytest.mark.parametrize(
    ("line", "button", "reason"),
    [
        ("54,b2,0,5,train", BUTTON, "no nodes of the view hierarchy have the pointer 'b2'"),
        ("54,b1,2,5,train", BUTTON, "'label' must be 0 (tappable) or 1"),
        ("54,b1,0,5,train", BUTTON | {"bounds": [5, 5, 5, 9]}, "empty"),
        ("54,b1,0,5,train", BUTTON | {"bounds": [9, 5, 5, 9]}, "inverted"),
        ("54,b1,0,5,train", BUTTON | {"bounds": ["1", 5, 5, 9]}, "must be four numbers"),
        ("54,b1,0,5,train", BUTTON | {"bounds": [1500, 5, 1600, 9]}, "outside the picture of 1080 x 1920"),
        ("55,b1,0,5,train", BUTTON, "No such file"),
    ],
)
def test_broken_taps_are_refused(tmp_path: Path, line: str, button: Any, reason: str):
    screen(tmp_path, 1080, 1920, button)
    assert reason in refusal(read_all(rico_ui, taps(tmp_path, line), tmp_path, task="taperception"))


def test_two_elements_with_one_pointer_are_told_apart_or_refused(tmp_path: Path):
    path = taps(tmp_path, "54,b1,0,5,train")
    screen(tmp_path, 1080, 1920, BUTTON, BUTTON)
    assert regions(one(read_all(rico_ui, path, tmp_path, task="taperception")))
    screen(tmp_path, 1080, 1920, BUTTON, BUTTON | {"bounds": [1, 2, 3, 4]})
    assert "2 nodes" in refusal(read_all(rico_ui, path, tmp_path, task="taperception"))


@pytest.mark.parametrize("hierarchy", [{}, {"activity": None}, {"activity": {"root": []}}, []])
def test_a_screen_without_a_hierarchy_is_refused(tmp_path: Path, hierarchy: Any):
    screen(tmp_path)
    write_json(tmp_path / "combined/54.json", hierarchy)
    told = refusal(read_all(rico_ui, taps(tmp_path, "54,b1,0,5,train"), tmp_path, task="taperception"))
    assert "without activity.root" in told


def test_an_empty_summary_is_refused_and_a_missing_column_named(tmp_path: Path):
    path = summaries(tmp_path)
    path.write_text("screenId,summary\n54,\n")
    assert "an empty 'summary'" in refusal(read_all(rico_ui, path, tmp_path))
    path.write_text("screen,summary\n54,a\n")
    with pytest.raises(ConfigError, match="no column 'screenId'"):
        read_all(rico_ui, path, tmp_path)
    path.write_bytes(b"screenId,summary\n54,\xff\n")
    with pytest.raises(ConfigError, match="not readable as CSV"):
        read_all(rico_ui, path, tmp_path)
