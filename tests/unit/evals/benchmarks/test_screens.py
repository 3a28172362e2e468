"""Benchmarks on screens: what is asked, sub-scores, other releases, rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mm15.base.errors import DataError
from mm15.base.types import Box, RegionPart
from mm15.evals.benchmark import find
from mm15.evals.items import Item, boxes, prompt_text
from mm15.evals.table import Table
from official._ferret_ui import TOP, row, write_task
from official._rico import write_csv, write_screen
from official_fixture import official, save_picture

pytestmark = pytest.mark.ui


def read(name: str, root: Path, partial: bool = True, **options: object) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial=partial, options=options))


def total(name: str, answers: list[str], items: list[Item]) -> dict[str, float]:
    benchmark = find(name)
    table = Table(benchmark.score_all(answers, items), [item.task for item in items])
    return {metric: float(values[0]) for metric, values in benchmark.combine(table).items()}


def asked(item: Item) -> str:
    return prompt_text(item.sample).partition("\n")[2]


# ---- RICO ----


def test_screen2words_asks_once_per_screen_of_the_split(tmp_path):
    official("screen2words").write(tmp_path / "screen2words")
    items = read("screen2words", tmp_path)
    assert [item.key for item in items] == [f"screen2words/{screen}" for screen in (1, 2, 3, 4)]
    assert items[0].references == ("page shows a login form", "window asking for email")
    assert asked(items[0]) == "Summarize this screen in a phrase."
    with pytest.raises(DataError, match=r"4 rows where the official screen_summaries\.csv has 4310"):
        read("screen2words", tmp_path, partial=False)


def test_screens_without_summaries_or_pictures_are_named(tmp_path):
    folder = tmp_path / "screen2words"
    official("screen2words").write(folder)
    (folder / "combined" / "4.jpg").unlink()
    write_csv(folder / "screen_summaries.csv", ("screenId", "summary"), [(1, " "), (4, "a page")])
    with pytest.raises(DataError, match=r"screen 1 has no summary(.|\n)*no picture .*4\.jpg"):
        read("screen2words", tmp_path)
    (folder / "split" / "test_screens.txt").unlink()
    with pytest.raises(DataError, match=r"no such file or folder: .*test_screens\.txt"):
        read("screen2words", tmp_path)


def test_widget_captions_are_about_boxes_in_the_pixels_of_the_picture(tmp_path):
    official("widget-captioning").write(tmp_path / "widget-captioning")
    items = read("widget-captioning", tmp_path)
    assert [item.key for item in items] == [
        f"widget-captioning/{k}" for k in ("1/0.0.0", "1/0.0.1", "2/0.0.0", "2/0.0.1")
    ]
    assert items[0].references == ("go back to start", "return")
    region = next(part for part in items[0].sample.messages[0].parts if isinstance(part, RegionPart))
    assert isinstance(region.region, Box)
    assert (region.region.x1, region.region.y2) == pytest.approx((7.2, 76.8))
    assert asked(items[0]) == "Describe the function of the widget [100, 100, 500, 600] in a phrase."
    assert items[0].group == items[1].group != items[2].group


def test_captions_of_one_element_on_several_lines_are_one_question(tmp_path):
    folder = tmp_path / "widget-captioning"
    official("widget-captioning").write(folder)
    rows = [("rico", 1, "0.0.0", "go back"), ("rico", 2, "0.0.0", "play||"), ("rico", 1, "0.0.0", "return")]
    write_csv(folder / "widget_captions.csv", ("datasetId", "screenId", "nodeId", "captions"), rows)
    items = read("widget-captioning", tmp_path)
    assert [item.references for item in items] == [("go back", "return"), ("play",)]


def test_elements_that_cannot_be_placed_stop_or_are_left_out_by_choice(tmp_path):
    folder = tmp_path / "taperception"
    official("taperception").write(folder)
    write_screen(folder, 2, (40, 72))
    told = json.loads((folder / "combined" / "3.json").read_text())
    told["activity"]["root"]["children"][0]["children"][0]["bounds"] = [5, 5, 5, 90]
    (folder / "combined" / "3.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"--set taperception\.unplaced=leave-out"):
        read("taperception", tmp_path)
    with pytest.warns(UserWarning, match="1 questions left out"):
        items = read("taperception", tmp_path, unplaced="leave-out")
    assert [item.references[0] for item in items] == ["Yes", "No", "Yes", "No"]


def test_label_0_means_tappable_and_accuracy_stands_beside_f1(tmp_path):
    official("taperception").write(tmp_path / "taperception")
    items = read("taperception", tmp_path)
    assert [item.references[0] for item in items] == ["Yes", "No", "Yes", "Yes", "No"]
    assert asked(items[0]) == (
        "Is the element [100, 100, 500, 600] tappable?\nAnswer the question using a single word or phrase."
    )
    assert total("taperception", ["yes", "yes", "no", "", "no"], items) == pytest.approx(
        {"f1": 40.0, "accuracy": 40.0, "unparseable": 20.0}
    )
    assert total("taperception", ["no"] * 5, items)["accuracy"] == 40.0


# ---- Ferret-UI ----


def test_referring_tasks_with_answers_in_turns_and_in_labels(tmp_path):
    official("ui-ref-ios").write(tmp_path / "ui-ref-ios")
    items = read("ui-ref-ios", tmp_path, partial=False)
    found = {(item.task, item.references[0], asked(item)) for item in items}
    assert ("ocr", "Sign in", "What is written at [100, 200, 500, 600]?") in found
    assert ("ocr", "Cancel", "Read [200, 700, 900, 900].") in found
    assert {item.task for item in items} == {"ocr", "icon recognition", "widget classification"} and len(items) == 6


def test_containment_stands_beside_exact_match(tmp_path):
    official("ui-ref-android").write(tmp_path / "ui-ref-android")
    items = read("ui-ref-android", tmp_path)
    answers = [f"It says {item.references[0]}" if item.task == "ocr" else "?" for item in items]
    assert total("ui-ref-android", answers, items) == pytest.approx({"exact_match": 0.0, "contains": 100 / 3})


def test_grounding_counts_three_tasks_and_lists_apart(tmp_path):
    official("ui-grd-ios").write(tmp_path / "ui-grd-ios")
    items = read("ui-grd-ios", tmp_path, partial=False)
    icons = [item for item in items if item.task == "find icon"]
    assert boxes(icons[1]) == [Box(10, 40, 50, 120), Box(20, 140, 90, 180)]
    (listing,) = [item for item in items if item.task == "widget listing"]
    assert listing.facts["answer"] == 'button "Yes, now" [100, 200, 500, 600], a slider [200, 700, 900, 900]'
    half = 'button "Yes now" [100, 200, 500, 600], a switch [200, 700, 900, 900]'
    assert total("ui-grd-ios", [half if item is listing else "" for item in items], items) == pytest.approx(
        {"acc_iou50": 0.0, "listing_f1": 50.0, "unparseable": 75.0}
    )


def test_a_missing_task_or_an_unknown_file_stops(tmp_path):
    folder = tmp_path / "ui-ref-ios"
    official("ui-ref-ios").write(folder)
    (folder / "test_ocr.json").unlink()
    with pytest.raises(DataError, match="2 tasks where the official mean is over 3; no questions of ocr"):
        read("ui-ref-ios", tmp_path, partial=False)
    write_task(folder, "something", [row(0, "What?", "yes")])
    with pytest.raises(DataError, match=r"no task in the name of something\.json"):
        read("ui-ref-ios", tmp_path)


@pytest.mark.parametrize(
    "name, file, made, told",
    [
        ("ui-ref-ios", "ocr", row(0, "At <bbox_location0>?", "<bbox_location0>", [TOP], [TOP]), "must be text alone"),
        ("ui-grd-ios", "find_text", row(0, "Where?", "there"), "holds no box"),
        ("ui-ref-ios", "ocr", {**row(0, "Read it.", "x"), "conversations": [{"from": "human", "value": "<image>\nX"}],
                               "box_x1y1x2y2": [[]]}, "neither an answer turn nor a text in 'label'"),
    ],
)  # fmt: skip
def test_rows_without_a_right_answer_are_named(tmp_path, name: str, file: str, made: dict, told: str):
    write_task(tmp_path / name, file, [made])
    with pytest.raises(DataError, match=told):
        read(name, tmp_path)


# ---- ScreenSpot ----


def test_screenspot_by_kind_of_machine_and_element(tmp_path):
    official("screenspot").write(tmp_path / "screenspot")
    items = read("screenspot", tmp_path)
    assert [item.task for item in items] == ["mobile icon", "mobile text", "desktop icon", "web text"]
    assert asked(items[0]) == "Where to click: open the menu?"
    assert boxes(items[0]) == [Box(9, 12, 45, 36)]
    told = total("screenspot", ["[300, 400]", "[300, 400]", "[300, 400]", ""], items)
    assert told == pytest.approx({"centre_in_box": 50, "acc_iou50": 0, "unparseable": 25, "mean_of_kinds": 50})


def test_the_authors_files_hold_pixels_and_v2_is_not_read_as_v1(tmp_path):
    official("screenspot-v2").write(tmp_path / "screenspot-v2")
    official("screenspot-v2").write(tmp_path / "screenspot")
    second = read("screenspot-v2", tmp_path)
    assert {item.key.partition("/")[0] for item in second} == {"screenspot-v2"}
    assert next(boxes(item) for item in second if item.task == "mobile icon") == [Box(9, 12, 45, 36)]
    with pytest.raises(DataError, match=r"no data/test\*.parquet"):
        read("screenspot", tmp_path)
    for file in (tmp_path / "screenspot").glob("*_v2.json"):
        file.rename(file.with_name(file.name.replace("_v2", "")))
    (tmp_path / "screenspot" / "screenspotv2_image").rename(tmp_path / "screenspot" / "screenspot_imgs")
    assert [boxes(item) for item in read("screenspot", tmp_path)] == [boxes(item) for item in second]


def test_strange_rows_of_screenspot_are_named(tmp_path):
    folder = tmp_path / "screenspot-v2"
    official("screenspot-v2").write(folder)
    save_picture(folder / "screenspotv2_image" / "a.png", 0, 90, 60)
    good = {"img_filename": "a.png", "bbox": [1, 2, 30, 20], "instruction": "go", "data_type": "text",
            "data_source": "shop"}  # fmt: skip
    rows = [{**good, "data_type": "video"}, {**good, "bbox": [200, 2, 30, 20]}, {**good, "instruction": " "}]
    (folder / "screenspot_web_v2.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"'video'(.|\n)*outside(.|\n)*about a text or an icon, found ''"):
        read("screenspot-v2", tmp_path)
