"""Questions that only the examples before them answer."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mm15.base.types import Category, ImagePart
from mm15.build import in_context
from mm15.build.in_context import SIGNS, invented_name
from mm15.build.materials import Materials
from mm15.datasets import llava
from mm15.datasets._context import RowContext

MATERIALS = Materials()
N = 36


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built")
    in_context.build(out, "heldout", N, 3, MATERIALS, workers=1)
    in_context.build(out, "heldout", 12, 3, MATERIALS, shots=0, name="control", workers=1)
    return out


def rows(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def said(row: dict) -> tuple[str, str]:
    asked, answer = row["conversations"]
    return asked["value"], answer["value"]


def test_examples_stand_before_the_question_each_with_its_picture(built):
    for row in rows(built, "in_context"):
        context = RowContext("s", Category.MULTI_IMAGE, "s/0", str(built))
        (sample,) = llava.to_samples(row, context)
        kinds = [isinstance(part, ImagePart) for part in sample.messages[0].parts]
        assert kinds == [True, False, True, False, True, False]
        sizes = [Image.open(built / name).size for name in row["image"]]
        assert sizes == list(zip(row["width"], row["height"], strict=True))
        assert all(width != height and max(width, height) <= 64 for width, height in sizes)
        assert sample.meta["told"] == row["told"] and row["shots"] == 2


def test_names_are_bound_by_the_examples_and_each_is_right_half_of_the_time(built):
    opened = [row for row in rows(built, "in_context") if row["task"] == "open"]
    assert len(opened) == 2 * N / 3
    for row in opened:
        first, second = re.findall(r"This is a (\w+)\.", said(row)[0])
        assert [first, second] == row["told"] and first != second
    assert Counter(row["told"].index(said(row)[1]) for row in opened) == {0: N / 3, 1: N / 3}
    assert len({said(row)[1] for row in opened}) > 20, "no name to learn by heart"


def test_the_sign_follows_from_the_examples_and_no_example_is_the_answer(monkeypatch, tmp_path):
    drawn: list[str] = []
    typeset = in_context.typeset
    monkeypatch.setattr(in_context, "typeset", lambda texts, *rest: drawn.append(texts[0]) or typeset(texts, *rest))
    in_context.build(tmp_path, "heldout", N, 3, MATERIALS, workers=1)
    sums = [row for row in rows(tmp_path, "in_context") if row["task"] == "operator"]
    assert len(drawn) == 3 * len(sums) == N
    found = Counter()
    for number, row in enumerate(sums):
        shown = [tuple(map(int, text.split(" ? "))) for text in drawn[3 * number : 3 * number + 3]]
        told = [int(result) for result in row["told"]]
        fitting = [sign for sign, work in SIGNS.items() if [work(*pair) for pair in shown[:2]] == told]
        assert len(fitting) == 1
        assert int(said(row)[1]) == SIGNS[fitting[0]](*shown[2]) and said(row)[1] not in row["told"]
        found[fitting[0]] += 1
    assert set(found) == set(SIGNS)


def test_the_control_asks_the_same_without_examples(built):
    for row, control in zip(rows(built, "in_context"), rows(built, "control"), strict=False):
        assert said(control)[1] == said(row)[1] and said(row)[0].endswith(said(control)[0])
        assert said(control)[0].count("<image>") == len(control["image"]) == 1
        last, alone = Image.open(built / row["image"][-1]), Image.open(built / control["image"][0])
        assert last.tobytes() == alone.tobytes()


def test_invented_names_are_no_words(tmp_path):
    words = {*MATERIALS.words("train"), *MATERIALS.words("heldout"), *MATERIALS.facts}
    names = [invented_name(MATERIALS, random.Random(n)) for n in range(300)]
    assert not words & set(names) and len(set(names)) > 250
    assert all(re.fullmatch(r"[a-z]{4,5}", name) for name in names)
    with pytest.raises(ValueError, match="0 or 2 examples, not 1"):
        in_context.build(tmp_path, "heldout", 1, 0, MATERIALS, shots=1)
