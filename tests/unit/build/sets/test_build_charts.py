"""Charts and tables: answers follow from the CSV file, marks lie on what they name, broken tables are named."""

import random
import re
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from mm15.base.errors import SkipSample
from mm15.build._chart_items import code_data
from mm15.build._csv_tables import is_ordered, label_column, number_columns, pick_series, read_csv
from mm15.build._plot import nice_ticks
from sets_fixture import build, dropped, rows, samples

CITIES = "city;people;area\n" + "".join(f"Town {chr(65 + k)};{100 + 37 * k * k};{9 + k}.5\n" for k in range(12))
YEARS = "year,rain,sun\n" + "".join(f"{1990 + k},{20 + (k * 7) % 11},{5 + k}\n" for k in range(15))


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "towns.csv").write_text(CITIES, encoding="utf-8-sig")
    (folder / "weather-by-year.csv").write_text(YEARS)
    return folder


def test_marks_have_the_color_of_their_series_and_reach_as_high_as_their_values(tables, tmp_path):
    build("charts", tmp_path / "d", tables, n=40, formats=("llava",), size=400)
    bars = 0
    for row in rows(tmp_path / "d" / "charts.jsonl"):
        pixels = np.asarray(Image.open(tmp_path / "d" / row["image"]).convert("RGB")).astype(int)
        heights = {}
        for mark in row["marks"]:
            x1, y1, x2, y2 = mark["box"]
            inside = pixels[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].reshape(-1, 3)
            if row["data"]["kind"] == "line":
                middle = pixels[(y1 + y2) // 2, (x1 + x2) // 2]
                # A later line may cross a point of an earlier one.
                if len(row["data"]["cells"][0]) == 2:
                    assert np.abs(middle - mark["color"]).max() < 60
                continue
            bars += 1
            assert len(inside) and np.abs(np.median(inside, axis=0) - mark["color"]).max() < 25
            heights[mark["label"], mark["series"]] = x2 - x1 if row["data"]["kind"] == "barh" else y2 - y1
        head, *body = row["data"]["cells"]
        values = {(cells[0], head[k]): float(cells[k]) for cells in body for k in range(1, len(head))}
        if heights:
            scale = max(heights.values()) / max(values.values())
            assert all(abs(heights[key] - scale * values[key]) <= 2 for key in values)
    assert bars > 30


def test_every_character_box_has_ink(tables, tmp_path):
    build("charts", tmp_path / "d", tables, n=6, formats=("docowl",))
    for row in rows(tmp_path / "d" / "charts-ocr.jsonl"):
        pixels = np.asarray(Image.open(tmp_path / "d" / row["image"][0]).convert("L")).astype(int)
        paper = np.median(pixels)
        for _, x1, y1, x2, y2 in row["chars"]:
            assert np.abs(pixels[max(0, y1) : y2, max(0, x1) : x2] - paper).max() > 40


def test_answers_can_be_worked_out_again_from_the_table(tables, tmp_path):
    build("charts", tmp_path / "d", tables, n=80)
    seen = set()
    for name in ("charts", "charts-math", "tables"):
        for row in rows(tmp_path / "d" / f"{name}.jsonl"):
            head, *body = row["data"]["cells"]
            asked = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"][::2]]
            answers = [turn["value"] for turn in row["conversations"][1::2]]
            for task, question, answer in zip(row["tasks"], asked, answers, strict=True):
                seen.add(task)
                assert answer == expected(task, question, head, body, row["data"]), (question, row["data"])
    assert seen >= {
        "title", "count", "highest", "lowest", "value", "compare", "difference", "sum", "count_above", "trend", "rises",
        "steepest", "which", "cell", "rows", "columns",
    }  # fmt: skip


def expected(task, question, head, body, data):
    cells = {(row[0], head[k]): row[k] for row in body for k in range(1, len(head))}
    labels = [row[0] for row in body]

    def named(names):
        # Longest first: "Town A" is part of no other label here, but "rain" could be part of one.
        return [name for name in sorted(names, key=question.find) if re.search(rf"\b{re.escape(name)}\b", question)]

    column = named(head[1:])[0] if named(head[1:]) else head[1]
    values = {
        label: Decimal(cells[label, column]) for label in labels if re.fullmatch(r"-?[\d.]+", cells[label, column])
    }
    asked = named(labels)
    if task == "title":
        return data["title"]
    if task == "count":
        return str(len(head) - 1) if "legend" in question else str(len(body))
    if task == "rows":
        return str(len(body))
    if task == "columns":
        return str(len(head))
    if task in ("highest", "lowest"):
        return (max if task == "highest" else min)(values, key=values.__getitem__)
    if task in ("value", "cell"):
        return cells[asked[0], column]
    if task == "compare":
        return "yes" if values[asked[0]] > values[asked[1]] else "no"
    if task == "difference":
        return str(values[asked[0]] - values[asked[1]])
    if task == "sum":
        return str(values[asked[0]] + values[asked[1]])
    if task == "count_above":
        level = Decimal(question.rstrip("?").split(" above ")[1])
        return str(sum(value > level for value in values.values()))
    if task == "trend":
        return "rises" if values[asked[1]] > values[asked[0]] else "falls"
    steps = [(values[b] - values[a], a, b) for a, b in pairwise(labels)]
    if task == "rises":
        return str(sum(step > 0 for step, _, _ in steps))
    if task == "steepest":
        _, a, b = max(steps)
        return f"from {a} to {b}"
    if task == "which":
        first, second = named(head[1:])
        return first if Decimal(cells[asked[0], first]) > Decimal(cells[asked[0], second]) else second
    raise AssertionError(task)


def test_the_code_and_the_markdown_say_what_is_drawn(tables, tmp_path):
    build("charts", tmp_path / "d", tables, n=20)
    for row in rows(tmp_path / "d" / "charts-code.jsonl"):
        said = code_data(row["conversations"][1]["value"])
        head, *body = row["data"]["cells"]
        assert said["labels"] == [cells[0] for cells in body]
        for k in range(len(head) - 1):
            assert said[f"values{k}"] == [float(cells[k + 1]) for cells in body]
        compile(row["conversations"][1]["value"], "chart", "exec")
    for row, sample in zip(
        rows(tmp_path / "d" / "charts-ocr.jsonl"), samples(tmp_path / "d")["charts-ocr"], strict=True
    ):
        answer = sample.messages[-1].text.removeprefix("<md> ").removesuffix(" </md>").splitlines()
        told = [line.strip("| ").split(" | ") for line in answer]
        assert [told[0], *told[2:]] == row["data"]["cells"] and set(told[1]) == {"---"}


def test_broken_tables_and_rows_are_named(tables, tmp_path):
    (tables / "latin.csv").write_bytes("Größe,n\n1,2\n".encode("latin-1"))
    (tables / "words.csv").write_text("a,b\nx,y\nz,w\nu,v\n")
    (tables / "twice.csv").write_text("a,a\n1,2\n3,4\n5,6\n")
    (tables / "short.csv").write_text("a,b\n1,2\n")
    (tables / "quote.csv").write_text('a,b\n"1,2\n')
    (tables / "towns-copy.csv").write_bytes((tables / "towns.csv").read_bytes())
    (tables / "ragged.csv").write_text(YEARS + "2040,1\n2041,<image>,3\n")
    build("charts", tmp_path / "d", tables, n=2)
    found = dropped(tmp_path / "d")
    assert found.pop("not readable as UTF-8 text") == [str(tables / "latin.csv")]
    assert found.pop("no column of plain numbers beside the names of the rows") == [str(tables / "words.csv")]
    assert found.pop("no header with two or more different names") == [str(tables / "twice.csv")]
    assert found.pop("fewer than three rows that can be used") == [str(tables / "short.csv")]
    assert found.pop("a row with more or fewer cells than the header") == [f"{tables / 'ragged.csv'}:17"]
    assert found.pop("a cell that is no plain text") == [f"{tables / 'ragged.csv'}:18"]
    assert found.pop("the same bytes as another file") == [str(tables / "towns.csv")]
    (reason,) = found
    assert reason.startswith("not a CSV table") and found[reason][0].startswith(str(tables / "quote.csv"))


def test_separators_labels_and_times(tables):
    table, dropped_rows = read_csv(tables / "towns.csv")
    assert table.columns == ("city", "people", "area") and len(table.rows) == 12 and not dropped_rows
    assert label_column(table) == 0 and number_columns(table) == [1, 2]
    years, _ = read_csv(tables / "weather-by-year.csv")
    assert label_column(years) == 0 and number_columns(years) == [1, 2]
    for seed in range(30):
        series = pick_series(years, random.Random(seed))
        assert series and series.ordered
        gaps = {int(b) - int(a) for a, b in pairwise(series.labels)}
        assert len(gaps) == 1 and min(gaps) > 0
    assert is_ordered(["Apr 1854", "May 1854", "Jan 1855"]) and is_ordered(["2001-03-30", "2001/04/02"])
    assert not is_ordered(["2001", "1999"]) and not is_ordered(["May", "Smith"])


def test_ticks_are_round_and_reach_over_the_values():
    assert [str(tick) for tick in nice_ticks(3, 97)] == ["0", "20", "40", "60", "80", "100"]
    assert nice_ticks(-4, 9)[0] <= -4 and nice_ticks(-4, 9)[-1] >= 9 and 0 in nice_ticks(-4, 9)
    assert [float(tick) for tick in nice_ticks(0.01, 0.034)] == [0, 0.01, 0.02, 0.03, 0.04]


def test_a_table_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(SkipSample, match="no header"):
        read_csv(tmp_path / "empty.csv")
