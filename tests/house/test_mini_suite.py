"""The mini suite comes out as the fixed one, uses nothing that training uses, and tells answers apart."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mm15.base.errors import ConfigError
from mm15.build import _mini_suite
from mm15.build._mini_suite import PARTS, SEED, build_suite
from mm15.build.materials import Materials
from mm15.cli import app
from mm15.data.open import sources_of
from mm15.evals.benchmark import find, known
from mm15.evals.fixed import EXACT, MANIFEST, is_fixed, keep, manifest
from mm15.evals.items import Item
from mm15.evals.request import Request
from mm15.evals.results import constant_answer
from mm15.evals.table import Table
from mm15.quickstart import BUILDS

ROWS = 12
KEEP = 'from mm15.evals.fixed import keep; keep("D")'
BY_SIDE = (
    "picture_files", "pictures", "photo_files", "photos", "fonts", "icon_files", "clip_files", "strip_files",
    "paragraphs", "tables", "pdf_pages", "words",
)  # fmt: skip
APART = ("mini-refer-unseen", "mini-ground-unseen", "mini-in-context-control")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """The whole suite, as the verb builds it, and what the verb says."""
    out = tmp_path_factory.mktemp("suite") / "mini"
    result = CliRunner().invoke(app, ["data", "build", "mini-suite", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


@pytest.fixture(scope="module")
def items(built) -> dict[str, list[Item]]:
    return Request(str(built[0])).read()


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        file.stem: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in sorted(folder.glob("*.jsonl"))
    }


def test_it_comes_out_as_the_fixed_one(built):
    _, told = built
    others = {row["name"]: row["fixed"] for row in told if not is_fixed(row["fixed"])}
    assert not others, (
        f"{others}: other builders make another suite. If that is meant, say in CHANGELOG.md that older numbers no "
        f"longer compare, and keep it: mm15 data build mini-suite --out D; python -c '{KEEP}'"
    )
    assert {f"{row['name']}.jsonl" for row in told} == set(manifest())
    assert sum(row["rows"] for row in told) == sum(content.count for content in manifest().values())


def test_keeping_it_again_changes_nothing(built, tmp_path, monkeypatch):
    out, told = built
    if any(row["fixed"] != EXACT for row in told):
        pytest.skip("drawn by other versions of libraries than the manifest")
    files = json.loads(MANIFEST.read_text())["files"]
    monkeypatch.setattr("mm15.evals.fixed.MANIFEST", tmp_path / "kept.json")
    keep(out)
    assert json.loads((tmp_path / "kept.json").read_text())["files"] == files
    manifest.cache_clear()


def test_every_benchmark_of_the_suite_has_its_file_and_every_ability_a_few_hundred_questions(built, items):
    assert list(items) == known("mini")
    assert {find(name).file for name in items} == {file.name for file in built[0].glob("*.jsonl")}
    counts = Counter()
    for name, asked in items.items():
        assert len({item.key for item in asked}) == len(asked)
        counts[find(name).category] += 0 if name in APART else len(asked)
        assert len(asked) >= (120 if name in APART else 150)
    assert min(counts.values()) >= 240 and len(counts) == 7


def test_no_question_is_asked_twice(built):
    out, _ = built
    for name, rows in rows_of(out).items():
        asked = Counter()
        for row in rows:
            files = row["image"] if isinstance(row["image"], list) else [row["image"]]
            pixels = b"".join(Image.open(out / file).tobytes() for file in files)
            asked[row["conversations"][0]["value"], hashlib.sha256(pixels).digest()] += 1
        assert max(asked.values()) == 1, name


def test_perfect_answers_score_100_and_constant_ones_little(items):
    for name, asked in items.items():
        benchmark = find(name)
        right = benchmark.score_all([benchmark.perfect(item) for item in asked], asked)
        table = Table(right, [item.task for item in asked])
        assert float(benchmark.combine(table)[benchmark.metric][0]) == pytest.approx(100), name
        assert constant_answer(benchmark, asked).value <= (38 if name == "mini-pairs" else 26), name


class OneSided(Materials):
    """Material of one side; whoever asks for the other fails. ``allowed``: lists that are needed to keep them out."""

    forbidden, allowed = "train", ("words",)

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in BY_SIDE or name in type(self).allowed:
            return found

        def asked(*arguments: Any) -> Any:
            assert type(self).forbidden not in arguments, f"{name}{arguments}"
            return found(*arguments)

        return asked


class Training(OneSided):
    forbidden = "heldout"


def test_the_suite_is_made_of_held_out_material_only(tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match="photos"):
        OneSided().photos("train")
    monkeypatch.setattr(_mini_suite, "Materials", OneSided)
    reports = build_suite(tmp_path / "suite", workers=1, rows=ROWS)
    assert [report.rows for report in reports] == [ROWS] * (len(PARTS) + 1), "pages writes two files"


def test_training_is_made_of_training_material_only_and_shows_no_picture_of_the_suite(tmp_path, built):
    def pictures(folder: Path) -> set[bytes]:
        return {hashlib.sha256(Image.open(file).tobytes()).digest() for file in folder.rglob("*.png")}

    for part in BUILDS:
        part.build(tmp_path, "train", ROWS, SEED, Training(), workers=1)  # type: ignore[call-arg]
    trained = pictures(tmp_path)
    assert len(trained) > 10 * ROWS and not trained & pictures(built[0])


def test_words_to_read_and_invented_names_are_never_trained(built):
    rows = rows_of(built[0])
    trained = set(Materials().words("train"))
    read = {row["conversations"][1]["value"].lower() for row in rows["words"]}
    assert len(read) > 150 and not read & trained
    values = {row["conversations"][1]["value"] for row in rows["kv"]}
    assert sum(value.isalpha() for value in values) > 50 and not values & trained
    told = {name for row in rows["in_context"] if row["task"] == "open" for name in row["told"]}
    assert len(told) > 300 and not told & trained


def test_its_sources_can_be_checked_and_compared_like_any_others(built):
    out, told = built
    sources = sources_of(str(out / "sources.yaml"), "", "", Path(), ())
    assert [(source.name, len(source.rows)) for source in sources] == [(row["name"], row["rows"]) for row in told]


def test_it_takes_no_wishes_and_no_folder_that_holds_something(tmp_path):
    with pytest.raises(ConfigError, match="the same for everybody"):
        CliRunner().invoke(
            app, ["data", "build", "mini-suite", "--out", str(tmp_path / "a"), "--seed", "1"], catch_exceptions=False
        )
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        build_suite(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
