"""Science questions: answers follow from the facts, letters and yes/no are balanced."""

import json
from collections import Counter

import pytest
from PIL import Image

from mm15.build import science
from mm15.build.materials import Materials

MATERIALS = Materials()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("science")
    for split in ("train", "heldout"):
        science.build(out / split, split, 108, 5, MATERIALS)
    return out


def rows(built, split):
    return [json.loads(line) for line in (built / split / "science.jsonl").read_text().splitlines()]


def test_same_seed_same_bytes(tmp_path, built):
    science.build(tmp_path, "heldout", 12, 5, MATERIALS, workers=1)
    first = (built / "heldout" / "science.jsonl").read_text().splitlines()[:12]
    assert (tmp_path / "science.jsonl").read_text().splitlines() == first


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_follow_from_the_facts(built, split):
    for row in rows(built, split):
        assert Image.open(built / split / row["image"]).size == (row["width"], row["height"])
        (entry,) = row["objects"]
        fact = MATERIALS.facts[entry["name"]]
        assert entry["name"] in MATERIALS.names
        question, *options = row["conversations"][0]["value"].removeprefix("<image>\n").split("\n")
        answer = row["conversations"][1]["value"]
        assert len(question) <= 40
        truth = {
            "alive": fact.alive,
            "fly": fact.flies,
            "water": fact.in_water,
            "kind": fact.kind,
            "legs": str(fact.legs),
        }
        if options:
            assert len({option[3:] for option in options}) == 3
            assert dict(option.split(". ") for option in options)[answer] == truth[row["task"]]
        else:
            assert answer == ("yes" if truth[row["task"]] else "no")


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_letters_and_yes_no_are_balanced(built, split):
    for task, share in Counter(science.TASKS).items():
        answers = Counter(row["conversations"][1]["value"] for row in rows(built, split) if row["task"] == task)
        assert sum(answers.values()) == 18 * share
        assert max(answers.values()) - min(answers.values()) <= 1 and len(answers) in (2, 3)
