"""Whether files are the fixed suite: exactly, as other versions of the libraries draw them, or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from mm15.build import words
from mm15.build.materials import Materials
from mm15.evals import fixed
from mm15.evals.fixed import ALIKE, EXACT, content_of, is_fixed, keep, manifest, not_fixed, state_of

N = 12


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    words.build(tmp_path, "heldout", N, 4, Materials(), workers=1)
    monkeypatch.setattr(fixed, "MANIFEST", tmp_path / "manifest.json")
    keep(tmp_path)
    yield tmp_path / "words.jsonl"
    manifest.cache_clear()
    fixed._state_of.cache_clear()


def again(file: Path) -> str:
    """The state of a file that was changed a moment ago."""
    fixed._state_of.cache_clear()
    return state_of(file)


def edit(file: Path, change) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def picture(file: Path, number: int = 3) -> Path:
    return file.parent / "images" / "words" / f"{number:06d}.png"


def test_what_was_kept_is_exact_however_it_is_written(file):
    assert manifest().keys() == {"words.jsonl"} and manifest()["words.jsonl"].count == N
    assert state_of(file) == EXACT
    edit(file, lambda rows: [dict(reversed(row.items())) for row in rows])
    Image.open(picture(file)).save(picture(file), compress_level=9)
    assert again(file) == EXACT, "order of keys and compression are no content"


def test_letters_drawn_a_little_otherwise_are_alike(file):
    shifted = ImageChops.offset(Image.open(picture(file)), 0, 1)
    shifted.save(picture(file))
    noisy = np.asarray(Image.open(picture(file, 5)), int) + np.random.default_rng(0).integers(-3, 4, (1, 1, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(picture(file, 5))
    edit(file, lambda rows: [row | {"chars": [], "width": row["width"]} for row in rows])
    assert again(file).startswith(ALIKE) and is_fixed(again(file))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[:-1], "11 rows, the fixed file has 12"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "other questions, answers or boxes"),
        (lambda rows: [rows[0] | {"task": "other"}, *rows[1:]], "other questions, answers or boxes"),
    ],
)
def test_other_rows_are_not_the_suite(file, change, told):
    edit(file, change)
    assert again(file) == told and not is_fixed(told)


def test_another_picture_is_not_the_suite(file):
    Image.open(picture(file, 4)).save(picture(file, 3))
    assert again(file) == f"1 of {N} pictures look different"
    picture(file, 3).unlink()
    assert again(file).startswith("cannot be compared: ")
    other = file.with_name("mine.jsonl")
    other.write_text(file.read_text())
    assert state_of(other) == "no file of this name is in the fixed suite"


def test_what_is_not_fixed_is_told_by_name():
    assert not_fixed({"mini-a": EXACT, "mini-b": f"{ALIKE}: up to 2 of 64 bits"}) == ""
    told = not_fixed({"mini-a": EXACT, "mini-b": "3 rows, the fixed file has 12"})
    assert told.startswith("Not the fixed mini suite") and told.endswith(": mini-b (3 rows, the fixed file has 12)")


def test_looks_are_eight_bytes_a_picture_and_plain_ones_are_zero(file):
    Image.new("RGB", (50, 40), "white").save(picture(file, 0))
    content = content_of(file)
    assert len(content.looks) == 8 * N and content.looks[:8] == bytes(8) and content.looks[8:16] != bytes(8)
