"""Nothing that is held out is training material, by name and by content."""

import hashlib

import pytest
import yaml

from mm15.build.materials import Materials

MATERIALS = Materials()
LIMIT = 8 << 20


def digests(pictures):
    return {hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures}


@pytest.mark.parametrize(
    "what", ["words", "fonts", "paragraphs", "pdf_pages", "photo_files", "tables", "icon_files", "clip_files"]
)
def test_both_sides_exist_and_are_disjoint(what):
    train, heldout = (getattr(MATERIALS, what)(split) for split in ("train", "heldout"))
    assert train and heldout
    assert len(set(train)) == len(train)
    assert not set(train) & set(heldout)


def test_every_seen_name_has_both_sides_and_no_unseen_name_has_a_training_picture():
    assert len(MATERIALS.names) == 20 and len(MATERIALS.unseen_names) == 5
    assert set(MATERIALS.names) | set(MATERIALS.unseen_names) == set(MATERIALS.facts)
    for name in MATERIALS.names:
        train, heldout = (MATERIALS.pictures(name, split) for split in ("train", "heldout"))
        assert len(train) >= 4 and heldout
        assert not digests(train) & digests(heldout)
    for name in MATERIALS.unseen_names:
        assert not MATERIALS.pictures(name, "train") and len(MATERIALS.pictures(name, "heldout")) >= 5


def test_the_same_drawing_in_two_finishes_stays_on_one_side():
    for name in MATERIALS.names:
        for split in ("train", "heldout"):
            styles = {file.stem for file in MATERIALS.picture_files(name, split)}
            assert ("fluent-emoji" in styles) == ("fluent-emoji-flat" in styles), name


def test_the_coins_are_under_no_known_restrictions_and_not_called_cc0():
    text = (MATERIALS.root / "LICENSES.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("| `photos/coins.jpg`"))
    assert line.split("|")[4].strip() == "no known copyright restrictions"
    assert "which is no licence and not CC0" in text


def test_what_splits_yaml_names_exists():
    holdouts = yaml.safe_load((MATERIALS.root / "splits.yaml").read_text())
    for folder in ("photos", "fonts", "texts", "tables", "icons", "clips"):
        stems = {file.stem for file in (MATERIALS.root / folder).iterdir()}
        assert set(holdouts[folder]) < stems, folder
    for name, styles in holdouts["pictures"].items():
        assert set(styles) < {file.stem for file in (MATERIALS.root / "pictures" / name).iterdir()}, name
    assert set(holdouts["pictures"]) == set(MATERIALS.names)


def test_strips_are_the_held_out_films_and_no_others():
    assert [file.stem for file in MATERIALS.strip_files("heldout")] == ["rabbit"]
    assert {file.stem for file in MATERIALS.clip_files("heldout")} == {"rabbit"}
    assert not MATERIALS.strip_files("train")


def test_pages_of_one_document_keep_a_gap_between_the_sides():
    train, heldout = (MATERIALS.pdf_pages(split) for split in ("train", "heldout"))
    for file, page in heldout:
        assert not {(file, page + step) for step in (-1, 1)} & set(train)


def test_word_lists_are_large_enough_and_well_formed():
    train, heldout = MATERIALS.words("train"), MATERIALS.words("heldout")
    assert len(train) >= 4000 and len(heldout) >= 400
    assert all(3 <= len(word) <= 8 and word.isascii() and word.isalpha() and word.islower() for word in train + heldout)


def test_paragraphs_and_tables_keep_their_promises():
    for split in ("train", "heldout"):
        assert all(60 <= len(text) <= 400 and text.isascii() for text in MATERIALS.paragraphs(split))
        for table in MATERIALS.tables(split):
            assert 2 <= len(table.columns) <= 6 and 3 <= len(table.rows) <= 30
            assert all(len(row) == len(table.columns) and all(row) for row in table.rows)


def test_shipped_material_is_small_and_every_file_has_a_licence_row():
    files = [file for file in MATERIALS.root.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LIMIT
    rows = (MATERIALS.root / "LICENSES.md").read_text(encoding="utf-8")
    for file in files:
        if file.parent.name in ("photos", "fonts", "pdf", "icons", "clips", "strips"):
            assert file.stem in rows, f"{file.name} has no row in LICENSES.md"
        if file.parent.parent.name == "pictures":
            assert f"{file.stem}.png" in rows, f"{file.stem} has no row in LICENSES.md"
