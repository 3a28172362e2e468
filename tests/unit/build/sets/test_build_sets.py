"""What all builders of ``mm15 data build NAME`` owe: same bytes, rows that formats read, sides apart, refusals."""

import json
import re

import pytest
import yaml
from typer.testing import CliRunner

from mm15.base.errors import ConfigError, DataError
from mm15.build._inputs import held_out, take_files
from mm15.build._sets import in_order
from mm15.cli import app
from mm15.dist.map import Engine
from sets_fixture import build, contents, rows, samples, write_photo

NAMES = ("charts", "interleaved", "pdf", "scenes", "text")


def some_input(name, folder):
    """What is shipped; but pages with figures are rare and slow to find, so two manuals for ``interleaved``."""
    if name != "interleaved":
        return []
    for number in range(6):
        write_photo(folder / "img" / f"{number}.jpg", (200, 40 * number, 30), (90, 70))
        text = (
            f"<h1>Part {number}</h1><p>What the figure shows.</p><img src='img/{number}.jpg' alt='a patch of colour'>"
        )
        (folder / f"{number}.html").write_text(text)
    return [folder]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_bytes_with_any_number_of_processes_and_rows_that_formats_read(name, tmp_path):
    given = some_input(name, tmp_path / "in")
    first = build(name, tmp_path / "one", *given, n=10, heldout=0.3)
    build(name, tmp_path / "two", *given, n=10, heldout=0.3, engine=Engine(workers=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    build(name, tmp_path / "other", *given, n=10, heldout=0.3, seed=1)
    assert contents(tmp_path / "other") != contents(tmp_path / "one")
    for side in first["sides"]:
        folder = tmp_path / "one" / ("heldout" if side["split"] == "heldout" else "")
        read = samples(folder)
        assert {name: len(found) for name, found in read.items()} == {
            n: count for n, count in side["rows"].items() if count
        }
        most = 10 if side["split"] == "train" else 3
        assert all(1 <= len(found) <= most for found in read.values())
        for found in read.values():
            assert all(any(message.trained for message in sample.messages) for sample in found)


@pytest.mark.parametrize("name", [*NAMES, "clips"])
def test_ray_builds_the_same_bytes(name, tmp_path, ray, monkeypatch):
    """More than a chunk of each; the folders are named from where the command runs, as people do."""
    given = some_input(name, tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    n, size = (65, 64) if name == "clips" else (9, 0)
    for engine in ("pool", "ray"):
        told = ["data", "build", name, "--out", engine, "--engine", engine, "--workers", "2", "--n", n, "--size", size]
        told += [part for path in given for part in ("--input", path)]
        done = CliRunner().invoke(app, list(map(str, told)))
        assert done.exit_code == 0, (done.output, done.exception)
    assert contents(tmp_path / "ray") == contents(tmp_path / "pool")
    assert sum(json.loads((tmp_path / "ray/build.json").read_text())["sides"][0]["rows"].values()) >= 9


def test_a_recipe_takes_the_sources_of_a_folder(tmp_path):
    from mm15.base.config import read_yaml

    build("text", tmp_path / "d", n=4)
    (tmp_path / "mine.yaml").write_text("extends: d/sources.yaml\nmore: 1\n")
    assert [source["name"] for source in read_yaml(tmp_path / "mine.yaml")["sources"]][:2] == ["plain", "passages"]


def test_a_folder_is_kept_for_the_same_request_and_refused_for_another(tmp_path):
    report = build("text", tmp_path / "d", n=4)
    before = contents(tmp_path / "d")
    assert build("text", tmp_path / "d", n=4) == report and contents(tmp_path / "d") == before
    with pytest.raises(ConfigError, match="give another folder"):
        build("text", tmp_path / "d", n=5)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds something that was not built here"):
        build("text", tmp_path / "mine", n=4)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_new_input_is_another_request(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("The tide comes in twice a day, and fishing boats wait for it in the harbour. " * 2)
    build("text", tmp_path / "d", folder, n=4, formats=("text",))
    (folder / "b.txt").write_text("Another document.")
    with pytest.raises(ConfigError, match="give another folder"):
        build("text", tmp_path / "d", folder, n=4, formats=("text",))


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        build("charts", tmp_path / "d", tmp_path / "gone", n=-1, heldout=1.0, size=9, formats=("lava",))
    told = str(caught.value)
    for part in ("no such file or folder", "did you mean 'llava'", "--n", "--heldout", "64 to 4096"):
        assert part in told
    with pytest.raises(ConfigError, match="did you mean 'charts'"):
        build("chart", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_formats_and_sizes_can_be_chosen(tmp_path):
    report = build("scenes", tmp_path / "d", n=4, formats=("ferret",), size=150)
    assert report["asked"]["formats"] == ["ferret"]
    assert list(report["sides"][0]["rows"]) == ["refer-ground"]
    for row in rows(tmp_path / "d" / "refer-ground.jsonl"):
        assert max(row["width"], row["height"]) == 150 and row["width"] != row["height"]


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(DataError, match=r"not one row could be made.*\ndropped:\n.*fewer than three rows.*bad\.csv"):
        build("charts", tmp_path / "d", tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    with pytest.raises(ConfigError, match=r"no \.pdf file in"):
        build("pdf", tmp_path / "d", tmp_path / "in")


def test_files_are_taken_once_and_held_out_by_content(tmp_path):
    for number in range(10):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.txt").write_text(f"document {number}")
    (tmp_path / "a" / "again.txt").write_text("document 3")
    (tmp_path / "a" / ".hidden.txt").write_text("hidden")
    found, dropped = take_files([tmp_path / "a"], (".txt",))
    assert [file.name for file in found] == [f"{number}.txt" for number in range(10)]
    assert dropped == [("the same bytes as another file", str(tmp_path / "a" / "again.txt"))]
    held = held_out([file.digest for file in found], 0.3)
    assert len(held) == 3 and held == held_out([file.digest for file in reversed(found)], 0.3)
    assert len(held_out(["x", "y"], 0.01)) == 1 and len(held_out(["x", "y"], 0.99)) == 1
    assert held_out(["x"], 0.0) == set()
    with pytest.raises(ConfigError, match="only one file"):
        held_out(["x"], 0.5)


def _square(number: int) -> int:
    return number * number


def test_results_come_in_the_order_of_the_tasks():
    assert list(in_order(_square, range(50), Engine(workers=2))) == [number * number for number in range(50)]


def test_the_verb_says_what_came_of_it_and_what_to_do_next(tmp_path):
    out = tmp_path / "d"
    done = CliRunner().invoke(app, ["data", "build", "text", "--out", str(out), "--n", "4", "--heldout", "0.5"])
    assert done.exit_code == 0, done.output
    assert "train    plain" in done.output and "heldout  plain" in done.output
    assert f"Next: mm15 data check {out} && mm15 data view {out}" in done.output
    again = CliRunner().invoke(
        app, ["data", "build", "text", "--out", str(out), "--n", "4", "--heldout", "0.5", "--json"]
    )
    assert json.loads(again.output)["sides"][1]["rows"]["plain"] == 2
    assert yaml.safe_load((out / "heldout" / "sources.yaml").read_text())["sources"][0]["path"] == "plain.jsonl"


def test_options_of_the_quickstart_and_of_builders_do_not_mix(tmp_path):
    for arguments, told in (
        (["text", "--tiny"], "quickstart"),
        (["--n", "3"], "take --out, --seed, --pdf and --tiny only"),
    ):
        done = CliRunner().invoke(app, ["data", "build", *arguments, "--out", str(tmp_path / "d")])
        assert isinstance(done.exception, ConfigError) and told in str(done.exception)


def test_a_side_without_rows_names_its_files_and_the_fix(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.csv").write_text("city,people\n" + "".join(f"town {n},{n * 7 + 3}\n" for n in range(9)))
    for number in range(30):
        (tmp_path / "in" / f"bad-{number:02d}.csv").write_text(f"a,b\n{number}\n")
    with pytest.raises(DataError) as caught:
        build("charts", tmp_path / "d", tmp_path / "in", heldout=0.1)
    told = str(caught.value)
    assert re.search(
        r"for the heldout side, which has .*bad-\d\d.csv(, .*bad-\d\d.csv){2} of the inputs\ndropped:", told
    )
    assert "fewer than three rows that can be used: 3, e.g. " in told and "Give more files to --input" in told
