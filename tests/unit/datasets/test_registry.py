"""The registry: every data set of the papers, each readable by a format that takes its options."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mm15.base.config import validate
from mm15.base.errors import ConfigError
from mm15.base.types import Category
from mm15.cli import app
from mm15.data.source import Source, SourceConfig
from mm15.datasets._registry import FILE, Registry, as_source, check_options, entry_of, registry, resolve, select

ASSET = Path(__file__).parents[2] / "assets/paper_datasets.txt"
ENTRIES = {entry.name: entry for entry in registry().datasets}
SOURCE: dict[str, Any] = {"name": "mine", "path": "files"}


def paper_names() -> dict[str, str]:
    """What the papers call it → registry name."""
    lines = [line for line in ASSET.read_text(encoding="utf-8").splitlines() if " = " in line and line[0] not in "#["]
    return dict(line.rsplit(" = ", 1) for line in lines)


def test_every_data_set_of_the_papers_is_in_the_registry_and_no_other_is_called_theirs():
    named = {entry_of(name).name for name in paper_names().values()}
    assert len(paper_names()) == len(named) > 80
    assert named == {entry.name for entry in ENTRIES.values() if entry.papers}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_readable_as_it_says(name: str):
    entry = ENTRIES[name]
    for reading in entry.readings:
        check_options(reading)
        assert reading.files or not entry.available, "which files?"
    assert entry.licence and entry.home and "://" not in entry.home
    assert entry.available == (entry.licence != "private") or name == "grit-ferret"


def test_shares_are_those_of_the_papers():
    shares = registry().shares
    assert all(sum(of_stage.values()) == pytest.approx(1) for of_stage in shares.values())
    assert shares["pretrain"] == {Category.CAPTION: 0.5, Category.INTERLEAVED: 0.1, Category.TEXT: 0.4}
    # General 1, text-rich 3.29, refer and ground 2, math .5, code .2, science .1, together 80 %.
    assert shares["sft"]["refer_ground"] / shares["sft"]["general"] == pytest.approx(2.0, abs=0.02)
    assert shares["sft"]["text_rich"] / shares["sft"]["general"] == pytest.approx(3.29, abs=0.02)
    ocr = [entry for entry in select("ocr", "continual") if entry.papers]
    assert [entry.share for entry in ocr] == [0.25] * 4
    for stage, of_stage in shares.items():
        assert all(select(category, stage) for category in of_stage), stage


def test_private_sets_have_public_ones_in_their_place():
    hq = ENTRIES["hq-text"].stand_in
    by_kind = {
        "web": ("fineweb-edu", "dclm-baseline"),
        "code": ("starcoderdata",),
        "maths": ("openwebmath", "finemath"),
        "reference": ("wikipedia-en",),
    }
    totals = {kind: sum(hq[name] for name in names) for kind, names in by_kind.items()}
    assert totals == pytest.approx({"web": 0.6, "code": 0.2, "maths": 0.1, "reference": 0.1})
    private = {entry.name for entry in ENTRIES.values() if not entry.available}
    assert {"icl-instruct", "coco-instruct-interleaved", "web-interleaved", "hqipt-204m"} < private


def test_a_name_is_resolved_or_the_nearest_is_offered():
    assert resolve("RefCOCO+").name == "refcoco-plus" and resolve("klc").name == "kleister-charity"
    with pytest.raises(ConfigError, match=r"unknown data set 'chartq' \(did you mean 'chartqa'\?\)"):
        resolve("chartq")
    with pytest.raises(ConfigError, match="'hq-text' has no public files; in its place: fineweb-edu 40%"):
        resolve("hq-text")
    with pytest.raises(ConfigError, match=r"unknown category 'textrich'.*did you mean 'text_rich'"):
        select("textrich")
    with pytest.raises(ConfigError, match=r"unknown stage 'pretraining'.*did you mean 'pretrain'"):
        select(stage="pretraining")


HINT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
WRITTEN: dict[str, tuple[Any, list[str], list[str]]] = {
    "gqa": ({"1": {"imageId": "2", "question": "Q?", "answer": "yes"}}, ["images/2.jpg"], [f"Q?{HINT}", "yes"]),
    "ocrvqa": (
        {"9": {"questions": ["a?", "b?"], "answers": ["x", "y"], "split": 1}, "8": {"questions": [], "split": 2}},
        ["images/9.jpg"],
        [f"a?{HINT}", "x", f"b?{HINT}", "y"],
    ),
    "textvqa": (
        {"data": [{"question": "q", "image_id": "ab", "answers": ["b", "a", "a"]}]},
        ["train_images/ab.jpg"],
        [f"q{HINT}", "a"],
    ),
    "docvqa": (
        {"data": [{"question": "q", "image": "documents/x.png", "answers": ["A", "a"]}]},
        ["documents/x.png"],
        [f"q{HINT}", "A"],
    ),
    "chartqa": ([{"imgname": "1.png", "query": "q", "label": "7"}], ["png/1.png"], [f"q{HINT}", "7"]),
    "plotqa": (
        {"qa_pairs": [{"image_index": 3, "question_string": "q", "answer": 2.5}]},
        ["png/3.png"],
        [f"q{HINT}", "2.5"],
    ),
    "synthdog-en": (
        [{"image": "a.png", "ground_truth": json.dumps({"gt_parse": {"text_sequence": "hello"}})}],
        ["a.png"],
        ["Read the text in the image.", "hello"],
    ),
    "scienceqa": (
        [{"image": None, "question": "q", "choices": ["a", "b"], "answer": 1, "hint": "h"}],
        [],
        [f"Context: h\nq\nA. a\nB. b{LETTER}", "B"],
    ),
    "websight": ([{"image": "a.png", "text": "<p>"}], ["a.png"], ["Write the HTML code of this web page.", "<p>"]),
    "datikz": ([{"image": "a.png", "code": "c"}], ["a.png"], ["Write the TikZ code that draws this picture.", "c"]),
    "openorca": ([{"system_prompt": "s", "question": "q", "response": "r"}], [], ["s", "q", "r"]),
    "mathinstruct": ([{"source": "s", "instruction": "i", "output": "o"}], [], ["i", "o"]),
    "orca-math": ([{"question": "q", "answer": "a"}], [], ["q", "a"]),
    "wizardcoder": ([{"instruction": "i", "output": "o"}], [], ["i", "o"]),
    "dolly": ([{"instruction": "i", "context": "c", "response": "r", "category": "qa"}], [], ["i\n\nc", "r"]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_column_map_reads_the_data_sets_own_layout(tmp_path: Path, name: str):
    rows, images, told = WRITTEN[name]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    source = Source(validate(SourceConfig, {"name": "s", "path": "a.json", "dataset": name}), tmp_path)
    assert len(source) == 1
    sample = source.sample(0)
    assert [image.media.path for image in sample.images] == [str(tmp_path / image) for image in images]
    assert [message.text for message in sample.messages] == told


# recipes


def test_a_source_takes_format_category_and_options_from_the_registry():
    config = validate(SourceConfig, {**SOURCE, "dataset": "chartqa"})
    assert (config.format, config.category) == ("qa-columns", Category.TEXT_RICH)
    assert config.options["image"] == "png/{imgname}"
    assert "dataset" not in config.model_dump(), "a resolved recipe says everything itself"
    assert validate(SourceConfig, config.model_dump()).options == config.options


def test_what_the_recipe_says_itself_wins():
    given = {"dataset": "refcoco", "category": "general", "options": {"images": "coco/train2014", "turns": 2}}
    config = validate(SourceConfig, {**SOURCE, **given})
    assert config.category is Category.GENERAL
    assert config.options == {"mode": "mdetr-json", "images": "coco/train2014", "turns": 2}
    other = validate(SourceConfig, {**SOURCE, "dataset": "chartqa", "format": "cauldron"})
    assert other.format == "cauldron" and other.options == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"dataset": "chartq"}, "did you mean 'chartqa'"),
        ({"dataset": "hq-text"}, "no public files"),
        ({"dataset": "chartqa", "format": "llava"}, "not known in format 'llava', but in: qa-columns, cauldron"),
        ({"dataset": "refcoco", "options": {"imges": "a"}}, "did you mean 'images'"),
        ({"dataset": "refcoco", "options": 3}, "options"),
        ({"datset": "refcoco"}, "did you mean 'dataset'"),
    ],
)
def test_a_wrong_source_says_what_is_wrong(given: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        validate(SourceConfig, {**SOURCE, **given})


# the file


def broken(change: Any) -> dict[str, Any]:
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change({entry["name"]: entry for entry in raw["datasets"]}, raw)
    return raw


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d, _: d["gqa"].update(adaptr="llava"), "unknown key"),
        (lambda d, _: d["gqa"].update(adapter="qa-column"), "did you mean 'qa-columns'"),
        (lambda d, _: d["gqa"].update(category="genral"), "category"),
        (lambda d, _: d["gqa"].update(available=False), "needs a stand_in"),
        (lambda d, _: d["gqa"].update(stand_in={"vqav2": 1.0}), "a public one has none"),
        (lambda d, _: d["hq-text"].update(stand_in={"fineweb-edu": 0.9}), "sum to 0.9"),
        (lambda d, _: d["hq-text"].update(stand_in={"nothing": 1.0}), "no public entries: nothing"),
        (lambda d, _: d["gqa"].update(confidence="ours"), "where no paper uses"),
        (lambda d, _: d["gqa"].update(aliases=["vqav2"]), "more than one data set: vqav2"),
        (lambda d, _: d["gqa"].pop("licence"), "licence: required"),
        (lambda d, _: d["gqa"].update(name="G QA"), "name"),
        (lambda _, raw: raw["shares"].update(sft={"sience": 1.0}), "shares"),
    ],
)
def test_a_wrong_entry_is_refused(change: Any, reason: str):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        validate(Registry, broken(change), where="registry.yaml")


# verbs


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["data", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_data_list_is_a_table_for_people_and_json_for_programs():
    told = run("list", "--category", "code", "--stage", "sft").splitlines()
    assert [line.split()[0] for line in told[1:-1]] == ["websight", "datikz", "design2code"]
    assert told[1].split()[3] == "10k" and told[-1].startswith("3 data sets. Next: mm15 data show")
    listed = json.loads(run("list", "--category", "ocr", "--json"))
    assert [entry["name"] for entry in listed][:4] == ["pdfa", "idl", "rendered-text", "docstruct4m"]
    assert len(json.loads(run("list", "--json"))) == len(ENTRIES)


def test_data_show_prints_lines_that_a_recipe_takes():
    told = run("show", "chartqa")
    assert "licence: unknown (see its home)" in told and "train_human.json" in told
    assert "from memory, look before you rely on it: options" in told
    short, full, other, selected = (
        yaml.safe_load(block)[0] for block in re.findall(r"(?m)(^  - .*(?:\n    .*)*)", told)
    )
    assert validate(SourceConfig, short) == validate(SourceConfig, full | {"dataset": "chartqa"})
    assert other["format"] == "cauldron" and validate(SourceConfig, other)
    assert selected["options"] == {"where": {"dataset_name": "ChartQA"}} and validate(SourceConfig, selected)
    assert "in its place: fineweb-edu 40%" in run("show", "hq-text")
    assert json.loads(run("show", "klc", "--json"))["name"] == "kleister-charity"


@pytest.mark.parametrize("name", [entry.name for entry in ENTRIES.values() if entry.available])
def test_every_public_entry_makes_a_source(name: str):
    assert validate(SourceConfig, as_source({**SOURCE, "dataset": name})).format == ENTRIES[name].adapter
