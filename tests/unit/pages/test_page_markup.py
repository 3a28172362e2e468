"""Pages: hostile text stays text, the frame forbids all but styles and data pictures, charts hold their numbers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mm15.pages.charts import bars, curves, histogram, legend, radar
from mm15.pages.html import Html, Page, Section, bullets, cards, content, escape, folded, paragraph, row, table
from mm15.pages.pictures import Line, Mark, picture

HOSTILE = """</td></svg></style><script>alert("1")</script><img src=x onerror='y'> & "' \x00\ud800 \u202e"""
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and insists that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text += data


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    assert reader.open == []
    return reader


def photo(width: int = 90, height: int = 60, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def test_hostile_text_stays_text_everywhere():
    parts = (
        paragraph(HOSTILE),
        bullets([HOSTILE]),
        table([HOSTILE], [[HOSTILE], [1]]),
        folded(HOSTILE, paragraph(HOSTILE)),
        row(paragraph(HOSTILE)),
        cards(paragraph(HOSTILE)),
        legend([HOSTILE]),
        bars({HOSTILE: [50.0]}, [HOSTILE]),
        histogram({1: 2, 5: 1}, x_label=HOSTILE),
        curves({HOSTILE: [(0, 1), (1, 2)]}, x_label=HOSTILE, y_label=HOSTILE),
        picture(photo(), [Mark(1, 2, 30, 40, HOSTILE, colour='"><script>')], caption=HOSTILE),
    )
    page = Page(HOSTILE, (Section(HOSTILE, parts),), HOSTILE).render()
    reader = read(page)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert reader.text.count('<script>alert("1")</script>') >= 15
    page.encode("utf-8")
    assert "\x00" not in page


def test_the_page_needs_nothing_beside_it():
    page = Page("t", (Section("s", (picture(photo()),)),)).render()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    addresses = [value for name, value in read(page).attributes if name in ("href", "src")]
    assert addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#s")) for address in addresses)
    assert "http://" not in page
    assert "https://" not in page
    assert "prefers-color-scheme: dark" in page


def test_content_formats():
    values = [content(value) for value in (None, 1234567, 1234.56, "a<b", Html("<b>x</b>"))]
    assert values == ["–", "1,234,567", "1,234.6", "a&lt;b", "<b>x</b>"]
    assert escape("a\x07\n\tb") == "a\ufffd\n\tb"


def test_table_puts_numbers_to_the_right():
    markup = table(["name", "n"], [["a", 3], ["b", None]])
    assert markup.count("<td class=number>") == 2
    assert markup.count("<th class=number>") == 1
    assert read(markup).tags.count("tr") == 3


def test_bars_have_the_length_of_their_value():
    markup = bars({"a": [50.0, None], "b": [100.0, 0.0]}, ["trained", "constant"])
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', markup)]
    assert widths == [pytest.approx(widths[2] / 2), 0.0, widths[2], 0.0]
    assert widths[2] > 300
    assert "missing" in read(markup).text
    with pytest.raises(ValueError, match="group 'a' has 1 values for 2 series"):
        bars({"a": [1.0]}, ["x", "y"])


def test_curves_span_their_frame_and_skip_what_is_not_finite():
    markup = curves({"loss": [(0, 4.0), (50, float("nan")), (100, 2.0)], "one": [(50, 3.0)], "none": []})
    points = [
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'points="(.*?)"', markup)
    ]
    assert [len(line) for line in points] == [2, 1, 0]
    (x0, y0), (x1, y1) = points[0]
    assert x0 < points[1][0][0] < x1
    assert y0 < points[1][0][1] < y1, "down the page is down the loss"
    assert points[1][0][0] == pytest.approx((x0 + x1) / 2, abs=0.1)
    assert "No points" in curves({"loss": [(0, float("inf"))]})


def test_curves_thin_long_logs_by_means():
    steps = [(float(step), float(step % 2)) for step in range(1000)]
    line = re.findall(r'points="(.*?)"', curves({"loss": steps}, most_points=100))[0].split()
    assert len(line) == 100
    assert len({point.split(",")[1] for point in line}) == 1, "every run averages to one half"


@pytest.mark.parametrize("values", [[(0, 0.0)], [(5, 7.0), (5, 7.0)], [(1, -3.0), (2, -1.0)], [(0, 1e9), (1, 1e-9)]])
def test_curves_of_odd_ranges_are_finite(values):
    markup = curves({"x": values})
    assert "nan" not in markup
    assert "inf" not in markup


def test_picture_keeps_coordinates_and_shrinks_pixels():
    marks = [Mark(10, 20, 110, 220, "dog"), Mark(5, 6, 5, 6)]
    markup = picture(photo(800, 500), marks, [Line(400, 0, 400, 500)], "a photo", side=100)
    assert 'viewBox="0 0 800 500"' in markup
    assert '<rect x="10.0" y="20.0" width="100.0" height="200.0"' in markup
    assert '<circle cx="5.0" cy="6.0"' in markup
    assert '<line x1="400.0" y1="0.0" x2="400.0" y2="500.0"' in markup
    data = re.search(r"base64,([^\"]+)", markup)
    assert data
    assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (200, 125)
    assert ">dog</text>" in markup


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK"])
def test_pictures_of_any_mode(mode):
    assert "data:image/jpeg" in picture(photo(33, 21, mode))


def rects(markup: str) -> list[tuple[float, float, float, str]]:
    """(x, width, height, title) of the bars."""
    found = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"[^>]*><title>([^<]*)', markup)
    return [(float(x), float(width), float(height), title) for x, width, height, title in found]


def test_a_histogram_has_a_bar_for_every_whole_number_where_they_are_few():
    shown = rects(histogram({3: 1, 5: 3}, "n"))
    assert [title for *_, title in shown] == ["3: 1 (25.0 %)", "4: 0 (0.0 %)", "5: 3 (75.0 %)"]
    assert shown[2][2] == pytest.approx(3 * shown[0][2], abs=0.2) and shown[1][2] == 0
    assert shown[0][1] == shown[1][1] == shown[2][1]


def test_a_histogram_puts_many_values_into_bins_that_hold_all():
    shown = rects(histogram(dict.fromkeys(range(100, 1000), 1), "n", most_bars=30))
    assert len(shown) == 30 and shown[0][3] == "100 to 129: 30 (3.3 %)" and shown[-1][3] == "970 to 999: 30 (3.3 %)"
    shown = rects(histogram({0.25: 1, 1.0: 1, 3.25: 2}, "n", most_bars=4))
    assert [title.rpartition(": ")[2] for *_, title in shown] == ["1 (25.0 %)", "1 (25.0 %)", "0 (0.0 %)", "2 (50.0 %)"]


def test_a_histogram_of_ratios_has_bars_of_even_width_and_round_ticks():
    markup = histogram({10: 1, 100: 2, 9999: 1, 0: 1}, "n", most_bars=3, log=True)
    shown = rects(markup)
    assert [title for *_, title in shown] == [
        "10 to 99: 2 (40.0 %)",
        "100 to 999: 2 (40.0 %)",
        "1,000 to 9,999: 1 (20.0 %)",
    ]
    assert max(width for _, width, *_ in shown) - min(width for _, width, *_ in shown) < 0.2
    assert ">100</text>" in markup and ">1,000</text>" in markup
    assert rects(histogram({7: 4}, "n", log=True))[0][3] == "7: 4 (100.0 %)"
    assert rects(histogram({7.5: 4}, "n", log=True))[0][2] > 0
    assert "Nothing to count" in histogram({}, "n")


def test_a_radar_has_an_axis_per_name_and_gaps_where_values_are_missing():
    drawn = radar(["a", "b", "c & d"], {"one": [100.0, 50.0, None], "two": [0.0, 10.0, 20.0]})
    assert drawn.count("<polygon") == 4 and drawn.count("<circle") == 5
    assert drawn.count("<polyline") == 1 + 3, "a missing value takes its two neighbouring lines with it"
    assert "c &amp; d" in drawn and "a, one: 100.0" in drawn
    with pytest.raises(ValueError, match="2 axes"):
        radar(["a", "b"], {})
    with pytest.raises(ValueError, match=r"series of \[2\] values"):
        radar(["a", "b", "c"], {"one": [1.0, 2.0]})


def test_curves_of_very_small_and_of_equal_values_have_ticks():
    for value in (3e-17, 0.0, 5e12):
        drawn = curves({"rate": [(1, value), (2, value)]}, y_label="rate")
        assert "<polyline" in drawn and "nan" not in drawn
    assert "3e-17" in curves({"rate": [(1, 0.0), (2, 3e-17)]})
