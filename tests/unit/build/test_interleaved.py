"""Interleaved documents: the layout, the length, the prose of the right side."""

import json
from collections import Counter

import pytest
from PIL import Image

from mm15.base.types import Category, ImagePart, Role
from mm15.build import interleaved
from mm15.build.interleaved import first_sentences
from mm15.build.materials import SPLITS, Materials
from mm15.datasets._context import RowContext
from mm15.datasets.interleaved import to_samples

MATERIALS = Materials()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("interleaved")
    for split in SPLITS:
        interleaved.build(out / split, split, 60, 5, MATERIALS)
    return out


def rows(built, split):
    return [json.loads(line) for line in (built / split / "interleaved.jsonl").read_text().splitlines()]


def test_same_seed_same_bytes(tmp_path, built):
    interleaved.build(tmp_path, "train", 9, 5, MATERIALS, workers=1)
    first = (built / "train" / "interleaved.jsonl").read_text().splitlines()[:9]
    assert (tmp_path / "interleaved.jsonl").read_text().splitlines() == first


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_documents_are_short_have_one_to_three_pictures_and_parse(built, split):
    for index, row in enumerate(rows(built, split)):
        names = [name for name in row["images"] if name]
        assert 1 <= len(names) <= 3
        assert sum(len(text) for text in row["texts"] if text) <= 400
        sizes = [Image.open(built / split / name).size for name in names]
        assert sizes == list(zip(row["width"], row["height"], strict=True))
        assert all(width != height for width, height in sizes)
        context = RowContext("interleaved", Category.INTERLEAVED, str(index), str(built / split))
        (sample,) = to_samples(row, context)
        assert [message.role for message in sample.messages] == [Role.DOCUMENT]
        kinds = [isinstance(part, ImagePart) for part in sample.messages[0].parts]
        assert kinds == [name is not None for name in row["images"]]
    assert set(Counter(row["task"] for row in rows(built, split)).values()) == {20}


def test_prose_comes_from_the_paragraphs_of_its_own_side(built):
    for split, other in (SPLITS, SPLITS[::-1]):
        for row in rows(built, split):
            if row["task"] == "illustrated":
                assert any(paragraph.startswith(row["texts"][0]) for paragraph in MATERIALS.paragraphs(split))
                assert not any(paragraph.startswith(row["texts"][0]) for paragraph in MATERIALS.paragraphs(other))


def test_first_sentences_cuts_at_a_sentence_or_a_word():
    assert first_sentences("One two. Three four. Five.", 21) == "One two. Three four."
    assert first_sentences("One two three four", 10) == "One two"
    assert first_sentences("Short.", 10) == "Short."
