"""Screens: elements lie where the rows say, nothing hidden is asked about, the network is out of reach."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mm15.base.errors import ConfigError
from mm15.base.rng import python_rng
from mm15.base.types import Box, RegionPart
from mm15.build import screens
from mm15.build._browser import Browser, PageError, find_browser
from mm15.build._screen_pages import KINDS, make_page
from mm15.build._screen_tasks import TASKS, ask_of, reading_order
from mm15.build._shots import TYPES, Element, Screen, take, visible
from mm15.build._view_hierarchy import CLASSES, hierarchy, notes_of, path_of
from mm15.build.materials import Materials
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import Engine

pytestmark = pytest.mark.ui

HERE, TWO = Engine(workers=1), Engine(workers=2)
MATERIALS = Materials()
RED, BLUE, GREEN = (220, 0, 0), (0, 0, 220), (0, 160, 0)
PAGE = """<!doctype html><title>A title</title><meta name=description content="page with a form">
<style>body {{ margin: 0; background: white; font: 16px sans-serif; }}
.at {{ position: absolute; margin: 0; border: 0; padding: 0; overflow: hidden; }}</style><body>
<button class=at style="left:20px;top:30px;width:120px;height:40px;background:rgb(220,0,0);color:white"
  aria-label="send the form">Send</button>
<button class=at style="left:20px;top:90px;width:40px;height:40px;background:rgb(0,0,220)" aria-label="go home"><svg
  aria-label="home" style="width:20px;height:20px;background:white"></svg></button>
<input type=checkbox role=switch checked class=at style="left:20px;top:150px;width:30px;height:30px">
<input type=text placeholder="Your name" class=at style="left:20px;top:200px;width:150px;height:30px;background:#eee">
<p class=at style="left:20px;top:250px;width:260px">Some <b>plain</b> text with <a href="#x">a link</a></p>
{more}</body>"""
HIDDEN = """
<p class=at style="left:20px;top:300px;visibility:hidden">Hidden</p>
<p class=at style="left:20px;top:320px;opacity:0">Clear</p>
<p class=at style="left:20px;top:340px;color:white">White on white</p>
<p class=at style="left:20px;top:360px">Covered</p><div class=at
  style="left:0;top:355px;width:300px;height:40px;background:rgb(0,160,0)"></div>
<p class=at style="left:20px;top:420px;width:40px;white-space:nowrap">Cut off at its edge</p>
<p class=at style="left:20px;top:595px;height:40px">Half below</p><p class=at style="left:20px;top:900px">Below</p>"""


def write_page(folder: Path, more: str = "", name: str = "page.html") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(PAGE.format(more=more), encoding="utf-8")
    return folder / name


def element(type: str, text: str = "", box: tuple[int, int, int, int] = (0, 0, 9, 9), **more: Any) -> Element:
    return Element(type, box, text, **more)


def screen(*elements: Element, title: str = "", summaries: tuple[str, ...] = ()) -> Screen:
    return Screen(Image.new("RGB", (360, 640)), list(elements), title, list(summaries), 640)


def rows(folder: Path, task: str, name: str = "screens") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}_{task}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("screens")
    for split in ("train", "heldout"):
        screens.build(out / split, split, len(KINDS), 3, MATERIALS, engine=HERE)
    return out


@pytest.fixture
def browser(tmp_path: Path):
    with Browser([tmp_path]) as opened:
        yield opened


# What needs no browser


def test_a_browser_that_is_not_there_is_named_with_the_fix(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MM15_CHROMIUM", raising=False)
    if not os.access("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", os.X_OK):
        with pytest.raises(ConfigError, match="apt-get install chromium"):
            screens.build(tmp_path / "out", "train", 1, 0, MATERIALS)
    monkeypatch.setenv("MM15_CHROMIUM", "/no/such/browser")
    with pytest.raises(ConfigError, match="MM15_CHROMIUM names no program: /no/such/browser"):
        find_browser()


def test_a_program_that_is_no_browser_does_not_hang(tmp_path: Path):
    with pytest.raises(ConfigError, match="does not answer"):
        Browser([tmp_path], "/bin/true")
    with pytest.raises(ConfigError, match="cannot start"):
        Browser([tmp_path], str(tmp_path))


def test_pages_depend_on_seed_and_side_only_and_never_mix_the_sides():
    for index in range(len(KINDS)):
        made = [make_page(MATERIALS, "train", index, python_rng(seed, index)) for seed in (1, 1, 2)]
        assert made[0] == made[1] != made[2]
        assert made[0].kind == list(KINDS)[index] and made[0].width != made[0].height
        assert "http" not in made[0].html.replace("http://www.w3.org/2000/svg", "")
    texts = {
        split: [make_page(MATERIALS, split, index, python_rng(1, index)).html for index in range(40)]
        for split in ("train", "heldout")
    }
    held = MATERIALS.icons(MATERIALS.icon_files("heldout")[0])
    drawing = held["back"].partition(">")[2]
    assert any(drawing in page for page in texts["heldout"]) and not any(drawing in page for page in texts["train"])


def test_icon_sets_hold_the_same_names():
    sets = [MATERIALS.icons(file) for split in ("train", "heldout") for file in MATERIALS.icon_files(split)]
    assert len(sets) == 3 and len({frozenset(icons) for icons in sets}) == 1
    assert all(drawing.startswith("<svg ") for icons in sets for drawing in icons.values())


def test_boxes_become_whole_pixels_and_what_shows_nothing_is_left_out():
    picture = Image.new("RGB", (100, 60), "white")
    picture.paste((0, 0, 0), (10, 10, 20, 20))
    raw = {"text": "", "label": "", "tappable": False}
    found = [
        {"type": "button", "box": [9.6, 9.5, 20.2, 20.7], "parent": -1, **raw},
        {"type": "text", "box": [50, 10, 90, 30], "parent": 0, **raw},
        {"type": "icon", "box": [11.0, 11.0, 14.0, 19.0], "parent": 1, **raw},
        {"type": "text", "box": [8, 8, 16, 16], "parent": 1, **raw, "mark": "dot", "lines": 2, "on": True},
        {"type": "text", "box": [8, 8, 16, 16], "parent": 3, **raw},
    ]
    kept = visible(found, picture)
    assert [(one.type, one.box, one.parent) for one in kept] == [
        ("button", (9, 9, 21, 21), -1),
        ("text", (8, 8, 16, 16), 0),
    ], "a grey box of one level shows nothing; its child moves up; a box twice counts once"
    assert (kept[1].mark, kept[1].lines, kept[1].on) == ("dot", 2, True)


def test_every_question_has_one_answer():
    shown = screen(
        element("button", "Add", (10, 10, 60, 40)),
        element("button", "Add", (10, 50, 60, 90)),
        element("button", "Pay now", (10, 100, 60, 140)),
        element("icon", "", (70, 10, 90, 30), mark="star"),
        element("icon", "", (10, 200, 30, 220), mark="star"),
        element("slider", "", (10, 240, 100, 260)),
        element("toggle", "", (200, 240, 240, 260), on=True),
        element("toggle", "", (200, 270, 240, 290), on=False),
        element("toggle", "", (200, 300, 240, 320), on=False),
        element("text", "Now", (10, 300, 60, 320)),
    )
    found = {task: [ask_of(task, shown, python_rng(seed)) for seed in range(60)] for task in TASKS}
    texts = {ask.question.partition('"')[2].rpartition('"')[0] for ask in found["find_text"]}
    assert texts == {"Pay now"}, "Add stands twice, and Now is part of Pay now"
    assert {ask.answer for ask in found["find_icons"]} == {"<bbox_location0>, <bbox_location1>"}
    assert all(ask.answered == [(70, 10, 90, 30), (10, 200, 30, 220)] for ask in found["find_icons"])
    asked = {ask.question for ask in found["find_widget"]}
    named = {
        text for text in ('button "Pay now"', "the slider", "toggle that is on") if any(text in one for one in asked)
    }
    assert len(named) == 3 and not any('"Add"' in one or "is off" in one for one in asked)
    kinds = {ask.answer for ask in found["widget_classification"]}
    assert kinds == {"button", "icon", "slider", "toggle", "text"} and all(len(ask.asked) == 1 for ask in found["ocr"])
    listed = found["widget_listing"][0]
    assert listed.answered == [one.box for one in reading_order(shown.elements)] and len(listed.answered) == 10
    assert listed.answer.startswith('button "Add" <bbox_location0>, icon "star" <bbox_location1>')


def test_a_screen_without_texts_or_icons_asks_nothing_about_them():
    shown = screen(element("slider"), element("picture", label="a dog"), element("text", "x" * 61))
    asks = {task: ask_of(task, shown, python_rng(0)) for task in TASKS}
    assert {task for task, ask in asks.items() if ask is None} == {"ocr", "icon_recognition", "find_text", "find_icons"}
    many = screen(*(element("text", str(k), (0, k, 9, k + 5)) for k in range(30)), element("slider"))
    ask = ask_of("widget_listing", many, python_rng(0))
    assert ask and ask.question == "List every slider on the screen." and len(ask.answered) == 1
    assert ask_of("widget_listing", screen(*many.elements[:30]), python_rng(0)) is None


def test_a_hierarchy_counts_on_the_canvas_and_nodes_are_found_by_path():
    shown = screen(
        element("button", "Go", (36, 64, 72, 128), label="go on", tappable=True),
        element("icon", "", (40, 70, 50, 80), mark="star", parent=0, tappable=True),
        element("text", "Hello", (36, 320, 72, 352)),
        title="A page",
    )
    root = hierarchy(shown, 7)["activity"]["root"]
    assert root["bounds"] == [0, 0, 1440, 2560]
    first, second = root["children"]
    assert first["bounds"] == [144, 256, 288, 512] and first["clickable"] and first["content-desc"] == ["go on"]
    assert first["children"][0]["pointer"] == "0000070001" and second["text"] == "Hello"
    assert [path_of(shown.elements, k) for k in range(3)] == ["0.0", "0.0.0", "0.1"]
    notes = notes_of(shown, 7, python_rng(0))
    assert notes.summaries == ["A page"] and notes.captions == [("0.0", "go on")]
    assert sorted(label for _, label in notes.taps) == [0, 1] and ("0000070002", 1) in notes.taps
    assert set(CLASSES) == set(TYPES)


def test_your_folder_has_two_sides_by_the_bytes_of_pages(tmp_path: Path):
    for number in range(40):
        write_page(tmp_path / "pages" / "deep", f"<!-- {number} -->", f"{number}.html")
    (tmp_path / "pages" / "note.txt").write_text("no page")
    train, held = (screens._side(tmp_path / "pages", split) for split in ("train", "heldout"))
    assert len(train) + len(held) == 40 and 0 < len(held) < 12 and not set(train) & set(held)
    with pytest.raises(ConfigError, match="no such folder"):
        screens._side(tmp_path / "none", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no page \(\.html"):
        screens._side(tmp_path / "empty", "train")
    write_page(tmp_path / "one")
    sides = [split for split in ("train", "heldout") if _has_side(tmp_path / "one", split)]
    assert len(sides) == 1


def _has_side(folder: Path, split: Any) -> bool:
    try:
        return bool(screens._side(folder, split))
    except ConfigError as error:
        assert "give more" in str(error)
        return False


# What the browser does


@pytest.mark.browser
def test_elements_lie_where_the_page_put_them(tmp_path: Path, browser: Browser):
    seen = take(browser, MATERIALS.root, write_page(tmp_path), 300, 600)
    assert seen.picture.size == (300, 600) and seen.title == "A title" and seen.summaries == ["page with a form"]
    by_type = {one.type: one for one in seen.elements}
    assert {one.type for one in seen.elements} == {"button", "icon", "toggle", "text field", "text", "link"}
    button = by_type["button"]
    assert (button.box, button.text, button.label, button.tappable) == (
        (20, 30, 140, 70),
        "Send",
        "send the form",
        True,
    )
    icon = by_type["icon"]
    assert (icon.box, icon.mark, icon.label, icon.tappable) == ((20, 90, 60, 130), "home", "go home", True)
    assert by_type["toggle"].on is True and by_type["text field"].text == "Your name"
    text = by_type["text"]
    assert text.text == "Some plain text with a link" and not text.tappable and text.lines == 1
    assert by_type["link"].text == "a link" and by_type["link"].tappable
    inner = by_type["link"].box
    assert text.box[0] < inner[0] and inner[2] <= text.box[2] and text.box[1] >= 250
    pixels = np.asarray(seen.picture)
    assert tuple(pixels[35, 25]) == RED and tuple(pixels[95, 22]) == BLUE and tuple(pixels[29, 25]) == (255, 255, 255)
    x1, y1, x2, y2 = text.box
    ink = np.argwhere(pixels[240:290, :, 0] < 128)
    assert y1 <= ink[:, 0].min() + 240 and ink[:, 0].max() + 240 < y2
    assert x1 <= ink[:, 1].min() and ink[:, 1].max() < x2, "the box holds all ink of its text"


@pytest.mark.browser
def test_what_cannot_be_seen_is_not_there(tmp_path: Path, browser: Browser):
    seen = take(browser, MATERIALS.root, write_page(tmp_path, HIDDEN), 300, 600)
    texts = {one.text for one in seen.elements}
    assert "Some plain text with a link" in texts
    assert not texts & {"Hidden", "Clear", "White on white", "Covered", "Cut off at its edge", "Half below", "Below"}
    assert tuple(np.asarray(seen.picture)[365, 25]) == GREEN
    lower = take(browser, MATERIALS.root, tmp_path / "page.html", 300, 600, place=1)
    assert "Below" in {one.text for one in lower.elements} or lower.page_height < 1200


ODD = """
<p class=at style="left:20px;top:300px;width:200px;height:30px;background:#eee">Half covered</p><div class=at
  style="left:100px;top:290px;width:120px;height:50px;background:rgb(0,160,0)"></div>
<div class=at style="left:20px;top:360px;width:240px;height:60px;background:#ddd"><button class=at
  style="left:10px;top:10px;width:80px;height:36px;background:rgb(220,0,0);color:white">Inside</button></div>
<button class=at style="left:20px;top:440px;width:60px;height:30px"></button>
<p class=at style="left:20px;top:480px;width:0;height:0">No size</p><p class=at style="left:120px;top:480px"> </p>
<button class=at style="left:-70px;top:500px;width:60px;height:30px">Left</button>
<button class=at style="left:280px;top:500px;width:60px;height:30px">Over</button>
<button class=at style="left:20px;top:540px;width:90px;height:30px;color:black">Twice</button>
<div class=at style="left:150px;top:540px;width:90px;height:30px"><button class=at
  style="left:0;top:0;width:90px;height:30px;color:black">Wrapped</button></div>"""


@pytest.mark.browser
def test_overlapping_empty_and_off_screen_elements(tmp_path: Path, browser: Browser):
    seen = take(browser, MATERIALS.root, write_page(tmp_path, ODD), 300, 600)
    by_text = {one.text: one for one in seen.elements}
    assert not by_text.keys() & {"Half covered", "No size", "Left", "Over"}, "covered, empty or beyond the edge"
    assert "" not in {one.text or one.mark or one.label for one in seen.elements if one.type == "button"}
    assert by_text["Inside"].box == (30, 370, 110, 406), "what lies in a container is seen on top of it"
    assert by_text["Twice"].box == (20, 540, 110, 570) and by_text["Wrapped"].box == (150, 540, 240, 570)
    assert [one.box for one in seen.elements].count((150, 540, 240, 570)) == 1, "one element, not its wrapper too"
    inner, outer = by_text["a link"], by_text["Some plain text with a link"]
    assert seen.elements[inner.parent] is outer, "an element in another overlaps it, and is its child"
    for one in seen.elements:
        x1, y1, x2, y2 = one.box
        assert 0 <= x1 < x2 <= 300 and 0 <= y1 < y2 <= 600


@pytest.mark.browser
def test_pages_reach_no_network_and_no_file_outside(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    pages = tmp_path / "pages"
    os.makedirs(pages)
    Image.new("RGB", (90, 60), RED).save(pages / "in.png")
    os.symlink(tmp_path / "secret.txt", pages / "link.txt")
    more = (
        '<img src="in.png" alt=own><img src="https://example.com/a.png"><img src="http://192.0.2.1/b.png">'
        '<iframe src="../secret.txt"></iframe><iframe src="link.txt"></iframe><script>alert(1)</script>'
    )
    with Browser([pages]) as browser:
        browser.open(write_page(pages, more), 300, 600)
        assert {url.rpartition("/")[2] for url in browser.refused} == {"a.png", "b.png", "secret.txt", "link.txt"}
        assert browser.run("document.images[0].naturalWidth") == 90
        with pytest.raises(PageError, match="ACCESS_DENIED"):
            browser.open(tmp_path / "secret.txt", 300, 600)


@pytest.mark.browser
def test_a_page_that_hangs_or_fails_is_an_error_and_the_browser_goes_on(tmp_path: Path, browser: Browser):
    browser.open(write_page(tmp_path), 300, 600)
    with pytest.raises(PageError, match="no answer in time"):
        browser.run("new Promise(() => 0)", seconds=0.5)
    with pytest.raises(PageError, match="script failed: Error: no"):
        browser.run("(() => { throw new Error('no'); })()")
    assert browser.run("1 + 1") == 2
    (tmp_path / "empty.html").write_text("<p>x</p>")
    with pytest.raises(PageError, match="fewer than three"):
        take(browser, MATERIALS.root, tmp_path / "empty.html", 300, 600)
    os.killpg(browser._process.pid, signal.SIGKILL)
    with pytest.raises(PageError, match="has ended"):
        browser.run("1")


@pytest.mark.browser
def test_closing_leaves_neither_process_nor_profile(tmp_path: Path):
    with Browser([tmp_path]) as browser:
        profile, process = Path(browser._profile), browser._process
        assert profile.is_dir()
    assert process.poll() is not None and not profile.exists()


@pytest.mark.browser
def test_same_seed_same_rows_whatever_the_number_of_browsers(tmp_path: Path, built: Path):
    screens.build(tmp_path / "b", "train", len(KINDS), 3, MATERIALS, engine=TWO)
    screens.build(tmp_path / "c", "train", 4, 4, MATERIALS, engine=HERE)
    names = sorted(path.relative_to(built / "train") for path in (built / "train").rglob("*") if path.suffix != ".jpg")
    for name in names:
        if (built / "train" / name).is_file():
            assert (tmp_path / "b" / name).read_bytes() == (built / "train" / name).read_bytes(), name
    assert rows(tmp_path / "c", "ocr") != rows(built / "train", "ocr")[:4]
    assert rows(built / "heldout", "ocr") != rows(built / "train", "ocr")


@pytest.mark.browser
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_rows_name_boxes_of_their_pictures_that_show_something(built: Path, split: str):
    total = Counter()
    for task in TASKS:
        for row in rows(built / split, task):
            with Image.open(built / split / row["image"]) as picture:
                assert picture.size == (row["image_w"], row["image_h"]) and picture.format == "JPEG"
                grey = np.asarray(picture.convert("L"))
            boxes = [box for side in row["box_x1y1x2y2"] for box in side]
            assert boxes and row["task"] == task
            for x1, y1, x2, y2 in boxes:
                assert 0 <= x1 < x2 <= row["image_w"] and 0 <= y1 < y2 <= row["image_h"]
                assert int(grey[y1:y2, x1:x2].max()) - int(grey[y1:y2, x1:x2].min()) > 15
            total[task] += 1
    assert min(total.values()) >= len(KINDS) - 3 and len(total) == len(TASKS)


@pytest.mark.browser
def test_a_dialog_hides_the_page_below(built: Path):
    index = list(KINDS).index("dialog")
    row = next(row for row in rows(built / "train", "widget_listing") if row["id"].endswith(f"/{index}"))
    said = row["conversations"][1]["value"]
    assert len(row["box_x1y1x2y2"][1]) == 4 and 'button "Cancel"' in said and said.startswith('text "')


@pytest.mark.browser
def test_the_adapters_read_every_file_that_sources_names(built: Path):
    listed = yaml.safe_load((built / "heldout" / "sources.yaml").read_text())["sources"]
    assert {entry["format"] for entry in listed} == {"ferret-json", "rico-ui"} and len(listed) == len(TASKS) + 3
    for entry in listed:
        source = Source(SourceConfig.model_validate(entry), built / "heldout")
        read = [source.sample(index) for index in range(len(source))]
        assert read, entry["name"]
        for sample in read:
            image = sample.images[0]
            regions = [part.region for turn in sample.messages for part in turn.parts if isinstance(part, RegionPart)]
            for region in regions:
                assert isinstance(region, Box) and 0 <= region.x1 < region.x2 <= image.width
    taps = Source(SourceConfig.model_validate(listed[-1]), built / "heldout")
    answers = Counter(taps.sample(index).messages[1].text for index in range(len(taps)))
    assert answers["Yes"] == answers["No"] > len(KINDS) / 2


@pytest.mark.browser
def test_annotated_elements_are_those_of_the_elementary_rows(built: Path):
    """The hierarchy's bounds, scaled back, are the boxes: a captioned control is found where its picture shows it."""
    folder = built / "train" / "screens"
    with (folder / "widget_captions.csv").open(encoding="utf-8") as file:
        captions = list(csv.DictReader(file))
    assert len(captions) > len(KINDS)
    for row in captions:
        tree = json.loads((folder / "combined" / f"{row['screenId']}.json").read_text())["activity"]["root"]
        node = tree
        for step in row["nodeId"].split(".")[1:]:
            node = node["children"][int(step)]
        assert node["content-desc"] == [row["captions"]]
        with Image.open(folder / "combined" / f"{row['screenId']}.jpg") as picture:
            scale = max(picture.size) / 2560
            box = [side * scale for side in node["bounds"]]
            assert all(abs(side - round(side)) < 0.01 for side in box), "whole pixels come back"


@pytest.mark.browser
def test_your_pages_are_scrolled_through_and_what_they_miss_is_told(tmp_path: Path):
    long = "".join(f'<p class=at style="left:20px;top:{700 + 40 * k}px">Line number {k}</p>' for k in range(60))
    for number in range(3):
        write_page(tmp_path / "in", f"{long}<img src='../out.png'><!-- {number} -->", f"{number}.html")
    (tmp_path / "in" / "bare.html").write_text("<p>nothing much</p>")
    side = screens._side(tmp_path / "in", "train")
    reports = screens.build(tmp_path / "o", "train", 2 * len(side), 0, MATERIALS, input=tmp_path / "in", engine=HERE)
    bare = sum(page.name == "bare.html" for page in side)
    assert reports[0].screens == 2 * (len(side) - bare)
    why = ("fewer than three elements can be seen", str(tmp_path / "in" / "bare.html"))
    assert reports[0].dropped == (why,) * (2 * bare)
    assert len(reports[0].refused) == reports[0].screens and reports[0].refused[0].endswith("/out.png")
    shown = {row["conversations"][1]["value"] for row in rows(tmp_path / "o", "ocr")}
    assert shown
    tree = (tmp_path / "o" / "screens" / "combined" / f"{len(side):06d}.json").read_text()
    assert "Line number" in tree, "the second round shows a lower window"
    Image.new("RGB", (8, 6)).save(tmp_path / "out.png")
    again = screens.build(tmp_path / "p", "train", 1, 0, MATERIALS, input=tmp_path / "in", also=[tmp_path], engine=HERE)
    assert not again[0].refused
