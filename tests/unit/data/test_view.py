"""The page of rows: regions and tiles where they lie, tokens by what is trained, addresses and reasons, no script."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from data_fixture import small_processor, write_pictures, write_rows, write_texts
from mm15.base.batch import IGNORE
from mm15.base.errors import ConfigError
from mm15.cli import app
from mm15.data import view
from mm15.data.source import Source, SourceConfig
from mm15.data.view import choose, view_page
from mm15.data.view_pictures import tile_sheet
from mm15.images.split import WHOLE, TileSlot
from mm15.processor import Processor

JPEG = re.compile(r"data:image/jpeg;base64,([^\"]+)")
HOSTILE = "</div><script>alert(1)</script><img src=x onerror=y> &amp; 一 é"


def a_source(folder: Path, rows: list[dict[str, Any]], format: str = "llava", name: str = "s", **more: Any) -> Source:
    write_rows(folder / f"{name}.jsonl", rows)
    values = {"name": name, "path": f"{name}.jsonl", "format": format, "category": "refer_ground", **more}
    return Source(SourceConfig.model_validate(values), folder)


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture
def ferret(tmp_path: Path) -> Source:
    """A point in the question and a box in the answer, on a picture of 30 x 50 px that is turned to 50 x 30."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 255, (50, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    row = {
        "image": "turned.png",
        "conversations": turns("<image>\nWhat is at <bbox_location0>?", "It is the small dog <bbox_location0>."),
        "box_x1y1x2y2": [[[7, 38]], [[5, 20, 25, 40]]],
        "image_w": 30,
        "image_h": 50,
    }
    return a_source(tmp_path, [row], "ferret-json")


def marks_of(page: str) -> list[tuple[str, ...]]:
    return re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="none"', page)


def shown_text(page: str) -> str:
    """What the token blocks of a page say after the legend, without the special tokens."""
    blocks = re.findall(r'<div class="tokens">(.*?)</div>', page, re.S)[1:]
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<u>.*?</u>", "", "".join(blocks)).replace("↵\n", "\n")))


def said_text(page: str) -> str:
    return "".join(
        html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<u>.*?</u>", "", found)))
        for found in re.findall(r'<span class="said">(.*?)</span>', page, re.S)[1:]
    )


def test_regions_lie_where_they_are_on_the_upright_picture(ferret: Source):
    sample = ferret.sample(0)
    regions = [part.region for message in sample.messages for part in message.parts if hasattr(part, "region")]
    assert [type(region).__name__ for region in regions] == ["Point", "Box"]
    page, seen = view_page([ferret], small_processor(n_min=2, n_max=6))
    assert [(one.source, one.reason) for one in seen] == [("s", "")]
    assert seen[0].address == f"{ferret.path}:1"
    first = re.search(r'<svg viewBox="0 0 (\d+) (\d+)"', page)
    assert first and first.groups() == ("50", "30")
    assert marks_of(page) == [("10.0", "5.0", "20.0", "20.0")]
    assert re.search(r'<circle cx="12.0" cy="7.0"', page)
    assert "2 small dog</text>" in page
    box = re.search(r'<rect x="10.0"[^>]*>', page)
    assert box and "stroke-dasharray" not in box[0]  # its turn is trained


def test_tile_borders_lie_where_the_grid_cuts_the_picture(ferret: Source):
    # 50 x 30 px on 2 x 3 tiles of 16 px: scaled by 48 / 50, so a tile is 16.67 px wide and high on the original.
    page, _ = view_page([ferret], small_processor(n_min=6, n_max=6))
    lines = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="tile"', page)
    assert lines == [
        ("16.7", "0.0", "16.7", "30.0"),
        ("33.3", "0.0", "33.3", "30.0"),
        ("0.0", "16.6", "50.0", "16.6"),
    ]
    assert "its 7 tiles of 16 px" in page
    assert "picture 0, tile 2,3 · 4 tokens" in page and "picture 0, whole · 4 tokens" in page


def test_the_sheet_holds_the_tiles_in_their_places():
    slots = [TileSlot(1, 1), TileSlot(1, 2), TileSlot(2, 1), TileSlot(2, 2), WHOLE]
    tiles = np.stack([np.full((3, 16, 16), 40 * number, np.uint8) for number in range(5)])
    sheet = np.asarray(tile_sheet(tiles, slots))
    assert sheet.shape == (35, 54, 3)
    assert [sheet[y, x, 0] for y, x in ((5, 5), (5, 25), (25, 5), (25, 25), (5, 45))] == [0, 40, 80, 120, 160]
    assert tile_sheet(tiles[:1], [WHOLE]).size == (16, 16)


def test_tokens_say_what_is_encoded_and_what_is_trained(ferret: Source):
    processor = small_processor()
    page, _ = view_page([ferret], processor)
    assert "\nWhat is at [240, 233]?" in shown_text(page)
    assert said_text(page) == "It is the small dog [200, 166, 600, 833]."
    encoded = processor.encode(ferret.sample(0))
    labels = int((encoded.labels_T != IGNORE).sum())
    assert f"{encoded.num_tokens} tokens · {labels} supervised · {encoded.num_tiles} tiles" in page
    assert page.count("<u>&lt;|end|&gt;</u>") == 1 and "<u>&lt;|user|&gt;</u>" in page


def test_characters_of_several_tokens_are_whole(tmp_path: Path):
    source = a_source(tmp_path, [{"text": "aé一 🙂 \nb" * 3}], "text")
    page, _ = view_page([source], small_processor())
    assert said_text(page).replace("↵", "") == "aé一 🙂 \nb" * 3
    assert "\ufffd" not in page


def test_nothing_from_a_row_becomes_markup(tmp_path: Path):
    rows = [
        {"conversations": turns(HOSTILE, HOSTILE), "note": HOSTILE, "blob": "x"},
        {"image": f"{HOSTILE}.png".replace("/", "_"), "conversations": turns(f"<image>{HOSTILE}", "yes")},
    ]
    source = a_source(tmp_path, rows, name="<script>s")
    page, seen = view_page([source], small_processor(max_tokens=4000), title=HOSTILE, told=HOSTILE)
    assert [bool(one.reason) for one in seen] == [False, True]
    assert "<script" not in page and "onerror=y>" not in page and "<img" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 6
    assert said_text(page) == HOSTILE
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg;base64,|#)', page)


def test_rows_that_cannot_be_used_are_shown_with_their_reason(tmp_path: Path):
    Image.new("RGB", (50, 30)).save(tmp_path / "a.png")
    rows: list[dict[str, Any]] = [
        {"image": "a.png", "conversations": turns("<image><image>?", "one picture, two places")},
        {"image": "gone.png", "conversations": turns("<image>?", "no such file")},
        {"image": "a.png", "width": 99, "height": 30, "conversations": turns("<image>?", "wrong size")},
        {"image": "a.png", "conversations": turns("<image>?", "far too long " * 99)},
    ]
    source = a_source(tmp_path, rows)
    with (tmp_path / "s.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    page, seen = view_page([source], small_processor(), count=9)
    assert [one.address for one in seen] == [f"{tmp_path}/s.jsonl:{line}" for line in range(1, 6)]
    reasons = [one.reason for one in seen]
    assert reasons[0] == "2 <image> placeholders for 1 pictures"
    assert "gone.png: cannot be read" in reasons[1]
    assert "the row states 99×30 px, but the picture has 50×30" in reasons[2]
    assert "are more than max_tokens = 400" in reasons[3]
    assert "not valid JSON" in reasons[4]
    for one in seen:
        assert f"cannot be used: {html.escape(one.reason)}" in page and html.escape(one.address) in page
    assert page.count("the row as it stands") == 4  # the last is no row
    assert page.count("data:image/jpeg") == 2  # of the third and fourth: it opens, though the row is refused


def test_the_same_seed_shows_the_same_rows(tmp_path: Path):
    sources = [Source(write_texts(tmp_path, name, 40), tmp_path) for name in ("a", "b")]
    first, again, other = (choose(sources, 9, seed) for seed in (3, 3, 4))
    assert first == again != other
    assert [source.name for source, _ in first] == ["a"] * 5 + ["b"] * 4
    assert [index for _, index in first[:5]] == sorted({index for _, index in first[:5]})
    processor = small_processor()
    assert view_page(sources, processor, 9, 3)[0] == view_page(sources, processor, 9, 3)[0]


def test_rows_are_spread_evenly_and_every_source_is_seen(tmp_path: Path):
    sources = [Source(write_texts(tmp_path, name, n), tmp_path) for name, n in (("a", 2), ("b", 30), ("c", 30))]
    counts = [sum(source is one for source, _ in choose(sources, 12)) for one in sources]
    assert counts == [2, 5, 5]
    assert len(choose(sources, 1)) == 3 and len(choose(sources, 999)) == 62
    write_rows(tmp_path / "e.jsonl", [])
    empty = Source(SourceConfig(name="e", path="e.jsonl", format="text", category="text"), tmp_path)  # type: ignore[arg-type]
    page, seen = view_page([empty], small_processor())
    assert seen == [] and "There are no samples." in page


def test_a_row_by_number_or_address(tmp_path: Path):
    source = Source(write_texts(tmp_path, "t", 9), tmp_path)
    assert choose([source], 1, named=["7", source.address(2)]) == [(source, 7), (source, 2)]
    for wrong in ("9", "elsewhere:1"):
        with pytest.raises(ConfigError, match=f"no row '{wrong}' in t"):
            choose([source], 1, named=[wrong])


def test_all_samples_of_a_row_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = Source(write_texts(tmp_path, "t", 4), tmp_path)
    monkeypatch.setattr(Source, "many", True)
    monkeypatch.setattr(Source, "address", lambda self, index: f"f:{index // 2}/{index % 2}")
    assert choose([source], 1, named=["f:1/1"]) == [(source, 3)]
    assert choose([source], 1, named=["f:1"]) == [(source, 2), (source, 3)]


def test_a_page_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(view, "PAGE_BYTES", 400_000)
    pixels = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    talk = turns("<image>" * 12 + "?", "word " * 5000)
    source = a_source(tmp_path, [{"image": ["noise.png"] * 12, "conversations": talk, "more": "z" * 99_999}] * 4)
    page, seen = view_page([source], small_processor(max_tokens=99_999), count=4)
    assert len(page) < 1.2 * 400_000 and not any(one.reason for one in seen)
    assert page.count("and 4 more pictures") == 4 and page.count("data:image/jpeg") == 4 * 8 * 2
    assert re.search(r"… and [\d,]+ more tokens, [\d,]+ of them supervised", page)
    assert re.search(r"… [\d,]+ more characters", page)


def test_pictures_left_out_by_the_format_are_told(tmp_path: Path):
    row = {"texts": ["one", None, "two"], "images": [None, "https://nowhere/x.png", None]}
    (tmp_path / "store").mkdir()
    source = a_source(tmp_path, [row], "interleaved", store={"path": "store"})
    page, _ = view_page([source], small_processor())
    assert "pictures that are not there and were left out: 1" in page


def test_tiles_that_touch_are_folded_together(ferret: Source):
    processor: Processor = small_processor(n_min=6, n_max=6, indicator="none")
    page, _ = view_page([ferret], processor)
    assert "picture 0, tile 1,1 to picture 0, whole · 28 tokens" in page


def test_the_verb(tmp_path: Path, small_data: Path):
    configs = [write_pictures(tmp_path, "p", 9), write_texts(tmp_path, "t", 3)]
    listed = [config.model_dump(mode="json", exclude_defaults=True) for config in configs]
    (tmp_path / "sources.yaml").write_text(json.dumps(listed), encoding="utf-8")
    out = tmp_path / "pages" / "v.html"
    arguments = ["data", "view", str(tmp_path), "--out", str(out), "--seed", "1", "--source", "p", "-n", "4"]
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert shown.exit_code == 0 and shown.stdout.startswith(f"{out}: 4 samples of 1 sources, ")
    assert out.read_text(encoding="utf-8").count("<article>") == 4
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [one["source"] for one in told["samples"]] == ["p"] * 4 and told["page"] == str(out)
    with pytest.raises(ConfigError, match=r"no source 'pp' \(did you mean 'p'\?\); here: p, t"):
        CliRunner().invoke(app, ["data", "view", str(tmp_path), "--source", "pp"], catch_exceptions=False)


def a_film(path: Path, frames: int = 16) -> None:
    """Black to white, at 8 frames a second."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            shade = 255 * number // (frames - 1)
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48), (shade,) * 3))))
        container.mux(stream.encode())


def test_clips_are_shown_by_frames_in_order_with_their_words(tmp_path: Path):
    a_film(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no film" * 99)
    said = [
        {"video": name, "conversations": turns("<video>\nDoes it grow light?", "Yes.")} for name in ("a.mp4", "b.mp4")
    ]
    source = a_source(tmp_path, said, category="video")
    page, seen = view_page([source], small_processor())
    reasons = {one.address[-1]: one.reason for one in seen}
    assert reasons.pop("1") == "" and "b.mp4: not a readable film" in reasons.pop("2") and not reasons
    assert "24 tiles" in page and "clip 0, frame 23" in page
    told = re.findall(r"<figcaption>clip 0, ([\d.]+) s", page)
    assert told == ["0.2", "0.5", "0.8", "1.2", "1.5", "1.8"]
    shades = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))).mean() for one in JPEG.findall(page)]
    assert len(shades) == 6 and shades == sorted(shades) and shades[0] < 40 < 200 < shades[-1]
    assert page.count("Does it grow light?</p>") == 1 and re.search(r"clip 0: [^<]*b.mp4: not a readable film", page)


def test_a_small_region_is_shown_enlarged_and_its_name_stays_on_the_picture(tmp_path: Path):
    pixels = np.full((400, 840, 3), 255, np.uint8)
    pixels[200:208, 800:820] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    box, large = [800, 200, 820, 208], [10, 10, 400, 390]
    row = {
        "image": "wide.png",
        "conversations": turns("<image>\nWhat is at <bbox_location0>?", "the small blue bar <bbox_location0>"),
        "box_x1y1x2y2": [[large], [box]],
        "image_w": 840,
        "image_h": 400,
    }
    page, _ = view_page([a_source(tmp_path, [row], "ferret-json")], small_processor())
    assert page.count("<figcaption>closer: 2 small blue bar") == 1 and "closer: 1" not in page
    assert marks_of(page) == [
        ("10.0", "10.0", "390.0", "380.0"),
        ("800.0", "200.0", "20.0", "8.0"),
        ("12.0", "12.0", "20.0", "8.0"),
    ]
    closer = Image.open(io.BytesIO(base64.b64decode(JPEG.findall(page)[1])))
    blue = np.argwhere(np.asarray(closer)[..., 0] < 100)  # 12 px around it
    assert np.allclose([*blue.min(0), *blue.max(0)], [12, 12, 19, 31], atol=1)
    labels = dict(re.findall(r'<text x="([\d.]+)"[^>]*>(\d[^<]*)<', page))
    assert labels == {"10.0": "1", "820.0": "2 small blue bar"}  # a question is no name; the other ends at its box
    assert re.search(r'<rect x="800.0"[^>]*stroke-width="1.2"', page)


def test_many_regions_are_labelled_by_number(tmp_path: Path):
    Image.new("RGB", (420, 300)).save(tmp_path / "a.png")
    boxes = [[20, 40 * n + 5, 200, 40 * n + 35] for n in range(7)]
    answer = ", ".join(f"thing {n} <bbox_location{n}>" for n in range(7))
    row = {"image": "a.png", "conversations": turns("<image>\nAll?", answer), "box_x1y1x2y2": [[], boxes]}
    row |= {"image_w": 420, "image_h": 300}
    page, _ = view_page([a_source(tmp_path, [row], "ferret-json")], small_processor())
    assert re.findall(r">(\d[^<]*)</text>", page) == list("1234567")
