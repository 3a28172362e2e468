"""The verbs: what they print for people and for programs, and how they refuse."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import mm15
from film_fixture import small_film
from mm15 import stage
from mm15.base.errors import ConfigError
from mm15.build import words
from mm15.build.materials import Materials
from mm15.bundle import load_bundle
from mm15.cli import app, main
from mm15.doctor import examine
from mm15.stage import StageResult
from stage_fixture import ROWS, small_values


def run(*arguments: str | Path, code: int = 0) -> str:
    """What a verb prints; its exit code is checked."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "small.yaml"
    path.write_text(yaml.safe_dump(small_values("sft", train={"steps": 2})), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(recipe: Path, small_data: Path) -> tuple[Path, str]:
    """A run folder, and what ``train --json`` printed."""
    folder = recipe.parent / "run"
    return folder, run("train", recipe, "--out", folder, "--data", small_data, "--set", "seed=5", "--json")


def test_train_prints_one_json_object(trained: tuple[Path, str]):
    folder, printed = trained
    told = json.loads(printed)
    assert (told["folder"], told["finished"], told["steps"]) == (str(folder), True, 2)
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["seed"] == 5
    assert (folder / "bundle" / "bundle.json").is_file()


def test_resume_of_a_finished_run(trained: tuple[Path, str]):
    folder, _ = trained
    assert json.loads(run("resume", folder, "--json"))["finished"] is True
    assert f"Next: mm15 chat {folder}/bundle" in run("resume", folder)


def test_an_interrupted_run_is_not_called_ready(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stopped = StageResult(str(tmp_path), "small", False, 1, 5.0, 9, 1, 1, 0.1)
    monkeypatch.setattr(stage, "start_stage", lambda *arguments, **options: stopped)
    monkeypatch.setattr(stage, "resume_stage", lambda *arguments, **options: stopped)
    assert "ready" not in run("train", recipe, "--out", tmp_path, code=130)
    assert "ready" not in run("resume", tmp_path, code=130)
    assert json.loads(run("resume", tmp_path, "--json", code=130))["finished"] is False


def test_mix_show_says_what_would_be_drawn(recipe: Path, small_data: Path):
    rows = json.loads(run("mix", "show", recipe, "--data", small_data, "--json"))
    assert {row["source"]: row["size"] for row in rows}["pairs"] == ROWS
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    told = run("mix", "show", recipe, "--data", small_data, "--set", "mixture.groups.multi.weight=0.6")
    *lines, following = told.splitlines()
    assert len(lines) == 1 + len(rows)
    assert following == f"Next: mm15 train {recipe} --data {small_data} --out RUN"
    assert next(line for line in lines if "pairs" in line).split()[4] == "40.0%"


def test_chat_answers_with_regions_in_pixels(trained: tuple[Path, str], tmp_path: Path):
    folder, _ = trained
    Image.new("RGB", (60, 44), (200, 30, 30)).save(tmp_path / "red.png")
    asked = ("chat", folder, "What is at []?", "--image", tmp_path / "red.png", "--box", "4,6,30,40")
    told = json.loads(run(*asked, "--max-new-tokens", "5", "--json"))
    assert told.keys() == {"text", "regions", "stop_reason", "tokens", "tiles", "annotated"}
    assert told["tiles"] >= 5 and told["tokens"] > told["tiles"] * 4
    reply = mm15.load(folder).ask(
        "What is at []?", images=[tmp_path / "red.png"], regions=[[4, 6, 30, 40]], max_new_tokens=5
    )
    assert reply.to_json() == told
    assert run(*asked, "--max-new-tokens", "5").splitlines()[: len(reply.text.splitlines())] == reply.text.splitlines()


@pytest.mark.parametrize(
    ("flags", "dtype", "kind"),
    [(["--dtype", "bf16"], "bf16", None), (["--int8"], None, "int8"), (["--dtype", "fp32"], "fp32", None)],
)
def test_chat_in_other_numbers(trained: tuple[Path, str], flags: list[str], dtype: str | None, kind: str | None):
    folder, _ = trained
    told = json.loads(run("chat", folder, "What is it?", *flags, "--max-new-tokens", "5", "--json"))
    session = mm15.load(folder, quantise=kind, dtype=dtype)
    assert session.bundle.model.layout == {"bf16": "packed", None: "int8", "fp32": ""}[dtype]
    assert session.ask("What is it?", max_new_tokens=5).to_json() == told
    if dtype == "fp32":
        assert mm15.load(folder).ask("What is it?", max_new_tokens=5).to_json() == told


def test_eval_in_other_numbers_says_so_and_mixes_with_no_other(trained: tuple[Path, str], tmp_path: Path):
    folder, _ = trained
    words.build(tmp_path, "heldout", 4, 0, Materials(), workers=1)
    said = {}
    for flags, how in (((), "float32"), (("--dtype", "bf16"), "bfloat16, packed"), (("--int8",), "bfloat16, int8")):
        out = tmp_path / how
        run("eval", folder, "--data", tmp_path, "--out", out, *flags)
        lines = [json.loads(line) for line in (out / "predictions" / "mini-words.jsonl").read_text().splitlines()]
        assert len(lines) == 4
        assert {line["decode"] for line in lines} == {f"greedy, {how}, at most {lines[0]['decode'].split()[-2]} tokens"}
        said[how] = json.loads((out / "evaluation.json").read_text())["model"]
    assert len(set(said.values())) == 3, "weights that were laid out count as others"
    with pytest.raises(ConfigError, match=r"decode: was 'greedy, float32', is 'greedy, bfloat16, packed'"):
        run("eval", folder, "--data", tmp_path, "--out", tmp_path / "float32", "--resume", "--dtype", "bf16")


@pytest.mark.video
def test_chat_about_a_clip(trained: tuple[Path, str], tmp_path: Path):
    folder, _ = trained
    film = small_film(tmp_path / "a.mp4")
    told = json.loads(run("chat", folder, "What happens?", "--video", film, "--max-new-tokens", "3", "--json"))
    assert told["tiles"] == 24 and told["regions"] == []
    assert mm15.load(folder).ask("What happens?", video=film, max_new_tokens=3).to_json() == told
    fewer = json.loads(
        run("chat", folder, "What?", "--video", film, "--frames", "5", "--max-new-tokens", "3", "--json")
    )
    assert fewer["tiles"] == 5


def test_an_empty_answer_is_told(trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch):
    folder, _ = trained
    stop = min(load_bundle(Path(folder) / "bundle").processor.stop_tokens)
    monkeypatch.setattr("mm15.generate.engine.choose", lambda logits_SV, *_: [stop] * len(logits_SV))
    assert run("chat", folder, "What?").strip() == "(nothing: the model ended its answer at once)"
    assert json.loads(run("chat", folder, "What?", "--json"))["text"] == ""


def test_chat_without_a_question_talks_until_the_end_of_the_input(trained: tuple[Path, str]):
    folder, _ = trained
    result = CliRunner().invoke(app, ["chat", str(folder), "--max-new-tokens", "3"], input="/help\nHello\n/quit\n")
    assert result.exit_code == 0
    assert "/image FILE" in result.stdout


def test_eval_measures_the_files_that_are_there(trained: tuple[Path, str], tmp_path: Path):
    folder, _ = trained
    words.build(tmp_path, "heldout", 6, 0, Materials(), workers=1)
    told = json.loads(run("eval", folder, "--data", tmp_path, "--out", tmp_path / "scores", "--json"))
    assert [(score["benchmark"], score["n"]) for score in told["scores"]] == [("mini-words", 6)]
    assert told["mmbase"] is None and "mini-kv" in told["missing"]
    assert json.loads((tmp_path / "scores" / "results.json").read_text()) == told
    kept = tmp_path / "scores" / "predictions" / "mini-words.jsonl"
    assert len(kept.read_text().splitlines()) == 6
    lines = run("eval", folder, "--data", tmp_path, "--benchmark", "mini-words", "--out", tmp_path / "b").splitlines()
    assert lines[0].split()[:2] == ["mini-words", "exact_match"] and lines[0].endswith("n=6")
    assert lines[-1] == f"Next: open {tmp_path / 'b' / 'report.html'}"
    assert lines[-2].startswith("Not the fixed mini suite, ")
    assert lines[-2].endswith(": mini-words (6 rows, the fixed file has 250)")
    with pytest.raises(ConfigError, match=r"--resume.*--rescore"):
        run("eval", folder, "--data", tmp_path, "--out", tmp_path / "scores")
    again = json.loads(run("eval", tmp_path / "scores", "--rescore", "--json"))
    assert again["scores"] == told["scores"]


def test_doctor_says_what_it_found():
    found = examine()
    told = json.loads(run("doctor", "--json", code=0 if all(finding.ok for finding in found) else 1))
    assert [entry["name"] for entry in told] == [finding.name for finding in found]
    assert {"python", "torch", "memory", "disk"} <= {entry["name"] for entry in told}
    assert all(entry["fix"] for entry in told if not entry["ok"])


def test_doctor_says_what_optional_things_are_for_and_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.version", absent)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("MM15_CHROMIUM", raising=False)
    found = {finding.name: finding for finding in examine()}
    assert found["av"].value == "not installed (reading films and building clips): pip install 'mm15[video]'"
    assert found["ray"].value == "not installed (checking and converting data on a cluster): pip install 'mm15[ray]'"
    assert found["chromium"].value.startswith("not usable (building screens: mm15 data build screens): no Chromium")
    assert "apt-get install chromium" in found["chromium"].value and "MM15_CHROMIUM=" in found["chromium"].value
    assert all(found[name].ok for name in ("av", "ray", "chromium")), "nothing needed is missing"
    monkeypatch.setenv("MM15_CHROMIUM", sys.executable)
    assert {finding.name: finding.value for finding in examine()}["chromium"] == sys.executable


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "sft-mni", "--out", "{tmp}/run"], "did you mean 'sft-mini'"),
        (["train", "sft-mini", "--out", "{tmp}/run", "--set", "train.stpes=3"], "did you mean 'steps'"),
        (["resume", "{tmp}"], "is no run folder"),
        (["chat", "{tmp}", "Hello"], "bundle.json"),
        (["eval", "{tmp}", "--data", "{tmp}"], "bundle.json"),
        (["mix", "show", "sft-mini", "--data", "{tmp}"], "tokenizer.json"),
        (["data", "build", "--out", "{tmp}/data", "--pdf", "{tmp}/none"], "no such folder"),
    ],
)
def test_errors_are_a_sentence_without_a_traceback(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["mm15", *(argument.format(tmp=tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.err.startswith("mm15: ") and told in printed.err
    assert "Traceback" not in printed.err and printed.out == ""
