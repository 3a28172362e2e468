"""The whole journey, small: data, four stages, evaluation, report, bundle; then chat and eval with what came out."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import mm15
from mm15 import quickstart
from mm15.base.config import fingerprint, load
from mm15.base.errors import ConfigError
from mm15.bundle import load_bundle
from mm15.cli import app
from mm15.data.source import open_sources
from mm15.evals import report as evals_report
from mm15.evals.benchmark import find, known
from mm15.evals.report import StageSummary
from mm15.quickstart import STAGES, TINY_ROWS, build_data, run_quickstart
from mm15.train.recipe import Recipe, load_recipe

BUNDLE_FILES = {"model.safetensors", "config.json", "processor.json", "tokenizer.json", "recipe.yaml", "bundle.json"}


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("journey") / "quickstart"
    return out, run_quickstart(out, tiny=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crop of a real photograph, 150 x 97 px."""
    file = tmp_path_factory.mktemp("photo") / "astronaut.png"
    with Image.open(Path(mm15.__file__).parent / "assets" / "photos" / "astronaut.jpg") as picture:
        picture.crop((40, 30, 190, 127)).save(file)
    return file


def verb(*arguments: str | Path) -> Any:
    """What a verb says with --json."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_results_hold_every_number_with_its_circumstances(journey: tuple[Path, dict[str, Any]]):
    out, results = journey
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == results
    assert results["wall_seconds"] > 0 and results["peak_rss_bytes"] > 100 << 20
    assert set(results["parts_seconds"]) == {"data", *STAGES, "evaluation"}
    abilities = {"general", "text_rich", "knowledge", "refer_ground", "multi_image", "in_context", "video"}
    assert set(results["categories"]) == abilities
    told = f"{TINY_ROWS} rows, the fixed file has "
    assert list(results["fixed"]) == known("mini")
    assert all(state.startswith(told) for state in results["fixed"].values()), "a tiny run is not asked the suite"
    assert all(0 <= value <= 100 for value in [results["mmbase"], *results["categories"].values()])
    base = [results["categories"][name] for name in ("general", "text_rich", "knowledge")]
    assert results["mmbase"] == pytest.approx(sum(base) / 3, abs=0.02)
    assert results["missing"] == []
    assert [score["benchmark"] for score in results["scores"]] == known("mini")
    for score in results["scores"]:
        benchmark = find(score["benchmark"])
        assert (score["category"], score["metric"]) == (benchmark.category, benchmark.metric)
        assert score["n"] >= TINY_ROWS and score["errors"] == 0
        assert all(0 <= score[name] <= 100 for name in ("value", "untrained", "constant", "low", "high"))
        assert score["constant"] > 0, "the best constant answer of a real file is right somewhere"
    assert results["seeds"] == [0] and results["tiny"] is True
    assert set(results["versions"]) == {"mm15", "torch", "python", "machine"}
    ran = {name: fingerprint(load(Recipe, out / name / "recipe.yaml")) for name in STAGES}
    assert results["recipe_hash"] == ran


def test_every_question_was_answered_once_and_kept(journey: tuple[Path, dict[str, Any]]):
    out, results = journey
    files = [out / "predictions" / f"{name}.jsonl" for name in known("mini")]
    kept = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert len({row["key"] for row in kept}) == len(kept) == sum(score["n"] for score in results["scores"])
    assert all(row["references"] and row["prompt"] and row["stop_reason"] in {"stop", "length"} for row in kept)


def test_run_folders_are_self_contained(journey: tuple[Path, dict[str, Any]]):
    out, _ = journey
    for number, name in enumerate(STAGES):
        folder = out / name
        assert {path.name for path in folder.iterdir()} == {
            "recipe.yaml",
            "run.json",
            "shares.json",
            "log.jsonl",
            "report.html",
            "watch.json",
            "checkpoints",
            "bundle",
        }
        recipe = load(Recipe, folder / "recipe.yaml")
        shipped = load_recipe(f"{name}-mini")
        assert recipe.sources == shipped.sources and recipe.mixture == shipped.mixture and recipe.split == shipped.split
        steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert steps == list(range(1, recipe.train.steps + 1))
        assert len(list((folder / "checkpoints").glob("step-*"))) == 2
        init = json.loads((folder / "run.json").read_text())["init"]
        assert init == (str(out / STAGES[number - 1] / "bundle") if number else None)
        shares = json.loads((folder / "shares.json").read_text())
        assert {row["source"] for row in shares} == {source.name for source in recipe.sources}
        assert {path.name for path in (folder / "bundle").iterdir()} == BUNDLE_FILES
        assert load_bundle(folder).extra["stage"] == name
    assert digest(out / "bundle") == digest(out / "sft" / "bundle")


def test_every_built_row_can_be_trained_on(journey: tuple[Path, dict[str, Any]]):
    out, _ = journey
    for name in STAGES:
        processor = load_bundle(out / name).processor
        for source in open_sources(load(Recipe, out / name / "recipe.yaml").sources, out / "data" / "train"):
            _, skips = source.scan(processor)
            assert not skips and len(source) == TINY_ROWS, f"{name}: {source.name}: {skips[:3]}"


def test_the_report_is_one_file_with_its_pictures(journey: tuple[Path, dict[str, Any]]):
    out, _ = journey
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") > len(known("mini"))
    loads = re.findall(
        r"""(?:\bsrc|\bhref|\bsrcset|\bdata|\baction)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^)"']+)""", page
    )
    outside = [address for pair in loads for address in pair if address and not address.startswith(("data:", "#"))]
    assert not outside
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import", page)
    for stage in STAGES:
        assert stage in page
    for benchmark in known("mini"):
        assert benchmark in page
    assert "Not the fixed mini suite, not comparable with other runs: " in page


def test_the_bundle_answers_about_a_region(journey: tuple[Path, dict[str, Any]], photo: Path):
    out, _ = journey
    reply = mm15.load(out / "bundle").ask("What is []?", images=[photo], regions=[[40, 10, 120, 90]], max_new_tokens=12)
    assert reply.stop_reason in {"stop", "length"} and reply.tiles >= 5
    told = verb(
        "chat", out / "bundle", "What is []?", "--image", photo, "--box", "40,10,120,90", "--max-new-tokens", "12"
    )
    assert told == reply.to_json()


def test_the_verbs_go_on_from_what_the_quickstart_left(journey: tuple[Path, dict[str, Any]], tmp_path: Path):
    out, results = journey
    heldout, place = out / "data" / "heldout", tmp_path / "words"
    told = verb("eval", out / "bundle", "--data", heldout, "--benchmark", "mini-words", "--out", place)
    (score,) = told["scores"]
    (before,) = [score for score in results["scores"] if score["benchmark"] == "mini-words"]
    assert (score["value"], score["n"], score["constant"]) == (before["value"], before["n"], before["constant"])
    rows = verb("mix", "show", "sft-mini", "--data", out / "data" / "train")
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    single = sum(row["share"] for row in rows if row["group"] == "single")
    assert single == pytest.approx(0.8)
    built = verb("data", "build", "--out", out / "data", "--tiny")
    assert all(report["rows"] == TINY_ROWS for report in built)


def test_the_same_command_again_trains_nothing(journey: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    out, results = journey
    logs = {name: (out / name / "log.jsonl").read_bytes() for name in STAGES}
    weights = {name: digest(out / name / "bundle")["model.safetensors"] for name in STAGES}
    data = digest(out / "data" / "train")
    told = []

    def write_report(path: Path, title: str, summaries: list[StageSummary], *rest: Any) -> None:
        told.extend(summaries)
        evals_report.write_report(path, title, summaries, *rest)

    monkeypatch.setattr(quickstart, "write_report", write_report)
    again = run_quickstart(out, tiny=True)
    assert again.keys() == results.keys() and again["recipe_hash"] == results["recipe_hash"]
    assert {name: (out / name / "log.jsonl").read_bytes() for name in STAGES} == logs
    assert {name: digest(out / name / "bundle")["model.safetensors"] for name in STAGES} == weights
    assert digest(out / "data" / "train") == data
    for name, summary in zip(STAGES, told, strict=True):
        steps = [json.loads(line) for line in logs[name].splitlines()]
        assert summary.seconds == pytest.approx(sum(step["seconds"] for step in steps)), (
            "of the training, not of this call"
        )
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*STAGES, "clock.json", "data", "bundle", "report.html", "results.json", "predictions", "evaluation.json"]
    )


def test_a_folder_of_other_data_is_refused(journey: tuple[Path, dict[str, Any]]):
    out, _ = journey
    with pytest.raises(ConfigError, match=r"was built with .*'seed': 0.*'seed': 1.* is asked; give another folder"):
        build_data(out / "data", seed=1, tiny=True)
