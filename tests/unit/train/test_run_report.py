"""A run folder as curves, a standing and a page; several runs in one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mm15.base.errors import ConfigError
from mm15.cli import app
from mm15.train.run_report import overlay, told, write_report
from mm15.train.run_state import MOST, NOTE, RECENT, Curve, History, check_run, standing


def line(step: int, **fields: Any) -> dict[str, Any]:
    plain = {"step": step, "loss": 4.0 / step, "grad_norm": 1.0, "tokens": 100, "targets": 30, "tiles": 6, "samples": 2,
             "categories": {"ocr": 4.0 / step}, "sources": {"<words>": 3.5}, "flops": 2_000_000, "seconds": 0.5,
             "waited": 0.1, "rate": 1e-3, "mfu": 0.25, "memory": {"rss": 2**30}}  # fmt: skip
    return plain | fields


def run_folder(folder: Path, lines: list[dict[str, Any]], steps: int = 10, state: str = "running") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (folder / "recipe.yaml").write_text(f"name: {folder.name}\ntrain: {{steps: {steps}}}\n")
    (folder / NOTE).write_text(json.dumps({"name": folder.name, "steps": steps, "peak": 16e6, "state": state,
                                           "device": "CPU", "basis": "a matmul", "ranks": 2}))  # fmt: skip
    return folder


def test_a_curve_stays_short_and_keeps_its_mean():
    curve = Curve()
    for step in range(1, 5001):
        curve.add(step, float(step % 2))
    points = curve.shown()
    assert MOST / 2 <= len(points) <= MOST
    assert all(0.4 < value < 0.6 for _, value in points)
    assert points[-1][0] > 4980 and [x for x, _ in points] == sorted(x for x, _ in points)
    few = Curve()
    few.add(1, 2.0)
    few.add(2, None)
    assert few.shown() == [(1, 2.0)]


def test_the_log_is_read_on_and_anew(tmp_path):
    first = [line(1), line(2, loss=None, skipped="loss nan", suspects=["a/1", "b/2"])]
    folder = run_folder(tmp_path / "run", first)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    history = History(folder).read()
    assert (history.step, history.skips, history.tokens) == (2, 1, 200)
    assert history.curves["loss"].shown() == [(1, 4.0)]
    run_folder(folder, [*first, line(3), {"step": 3, "evaluation": {"scores": {"mini-math": 12.5}}}])
    history.read()
    assert history.group("scores") == {"mini-math": [(3.0, 12.5)]}
    run_folder(folder, [line(1)])
    assert (history.read().step, history.evaluations) == (1, [])


def test_where_a_run_stands(tmp_path):
    folder = run_folder(tmp_path / "sft", [line(step) for step in range(1, 5)])
    now = standing(History(folder).read())
    assert (now.state, now.step, now.steps, now.next_step) == ("running", 4, 10, f"mm15 watch {folder}")
    assert (now.tokens_per_second, now.tiles_per_second, now.mfu, now.wait) == (200, 12, 0.25, 0.2)
    assert now.left == pytest.approx(3.0)
    assert told(now).startswith("sft is running: step 4 of 10 · loss 1.000 · 200 tokens/s · 12.0 tiles/s · MFU 25.0%")

    late = (folder / "log.jsonl").stat().st_mtime + 500
    silent = standing(History(folder).read(), now=late)
    assert (silent.state, silent.next_step) == ("silent", f"mm15 resume {folder}")
    run_folder(folder, [line(step) for step in range(1, 5)], state="failed")
    assert standing(History(folder).read()).state == "failed"
    run_folder(folder, [line(step) for step in range(1, 11)], state="running")
    (folder / "bundle").mkdir()
    done = standing(History(folder).read())
    assert done.state == "finished" and done.next_step.startswith(f"mm15 chat {folder}/bundle")
    many = run_folder(tmp_path / "long", [line(step, tokens=step) for step in range(1, 101)], steps=1000)
    recent = sum(range(101 - RECENT, 101)) / (0.5 * RECENT)
    assert standing(History(many).read()).tokens_per_second == recent


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"neither log\.jsonl nor recipe\.yaml"):
        check_run(tmp_path)


def test_the_page_shows_everything_and_escapes_names(tmp_path):
    rows = [line(step, save_stall=0.25) for step in range(1, 5)]
    rows.insert(2, line(3, save_stall=0.5, loss=None, skipped="loss nan", suspects=["<b>bad</b>/1"]))
    rows.append({"step": 4, "evaluation": {"scores": {"mini-math": 37.5}, "n": {"mini-math": 8}}})
    folder = run_folder(tmp_path / "sft", rows)
    (folder / "shares.json").write_text(json.dumps([{"source": "words", "share": 0.4, "draws": 24.0}]))
    write_report(History(folder).read(), refresh=15)
    page = (folder / "report.html").read_text()
    assert '<meta http-equiv="refresh" content="15">' in page
    for text in ("step 4 of 10", "&lt;words&gt;", "&lt;b&gt;bad&lt;/b&gt;/1", "mini-math (n 8)", "37.5", "40.0 %",
                 "MFU", "a matmul", f"mm15 resume {folder}", "data wait", "1.5 s in all ("):  # fmt: skip
        assert text in page, text
    assert "<script" not in page and "<b>bad" not in page and "http://" not in page
    run_folder(folder, [line(step) for step in range(1, 11)])
    write_report(History(folder).read(), refresh=15)
    assert 'http-equiv="refresh"' not in (folder / "report.html").read_text()


def test_an_empty_log_makes_a_page_too(tmp_path):
    folder = run_folder(tmp_path / "fresh", [])
    now = write_report(History(folder).read())
    assert (now.step, now.loss, now.left) == (0, None, None)
    assert "No points to draw." in (folder / "report.html").read_text()


def test_several_runs_in_one_page(tmp_path):
    runs = [
        run_folder(tmp_path / side / "sft", [line(step) for step in range(1, n)]) for side, n in (("a", 4), ("b", 8))
    ]
    page = overlay([History(run).read() for run in runs])
    for run in runs:
        assert f"sft ({run})" in page
    assert page.count("<polyline") >= 2 * 4 and "Loss by source" in page


def test_watch_says_where_runs_stand_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = run_folder(tmp_path / "one", [line(step) for step in range(1, 4)], state="interrupted")
    two = run_folder(tmp_path / "two", [line(step) for step in range(1, 11)])
    told = CliRunner().invoke(app, ["watch", str(one)])
    assert told.exit_code == 0
    assert told.stdout.splitlines()[0].startswith("one was stopped and is saved: step 3 of 10")
    assert f"Next: mm15 resume {one}" in told.stdout and (one / "report.html").is_file()
    told = CliRunner().invoke(app, ["watch", str(one), str(two), "--json"])
    assert [row["state"] for row in json.loads(told.stdout)] == ["interrupted", "finished"]
    assert "2 runs" in Path("watch.html").read_text()
