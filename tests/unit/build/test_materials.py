"""Loading of shipped and user material."""

import pickle
import shutil

import pytest

from mm15.base.errors import ConfigError
from mm15.build.materials import Materials


def test_missing_folders_are_all_named(tmp_path):
    with pytest.raises(ConfigError) as error:
        Materials(tmp_path / "a", tmp_path / "b")
    assert len(error.value.problems) == 2


def test_user_pdfs_are_split_by_their_bytes_and_broken_ones_are_named(tmp_path):
    shipped = sorted((Materials().root / "pdf").glob("*.pdf"))
    for file in shipped:
        shutil.copy(file, tmp_path / f"copy of {file.name}")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.warns(UserWarning, match=r"broken\.pdf"):
        found = Materials(pdfs=tmp_path)
        pages = {
            split: set(found.pdf_pages(split)) - set(Materials().pdf_pages(split)) for split in ("train", "heldout")
        }
    assert not {file for file, _ in pages["train"]} & {file for file, _ in pages["heldout"]}
    counts = {
        name: sum(file.name == f"copy of {name}" for side in pages.values() for file, _ in side) for name in PAGES
    }
    assert counts == PAGES
    renamed = tmp_path / "other"
    renamed.mkdir()
    shutil.copy(tmp_path / f"copy of {shipped[0].name}", renamed / "x.pdf")
    side = "train" if any(file.name.endswith(shipped[0].name) for file, _ in pages["train"]) else "heldout"
    assert any(file.name == "x.pdf" for file, _ in Materials(pdfs=renamed).pdf_pages(side))


PAGES = {"docbook-xsl.pdf": 95, "mpich-user.pdf": 16, "reportlab-userguide.pdf": 134}


def test_pictures_are_trimmed_and_read_once():
    materials = Materials()
    for name in materials.names:
        for picture in materials.pictures(name, "train") + materials.pictures(name, "heldout"):
            assert picture.mode == "RGBA" and 90 <= max(picture.size) <= 96
            assert picture.getchannel("A").getbbox() == (0, 0, *picture.size)
    assert materials.pictures("dog", "train")[0] is materials.pictures("dog", "train")[0]
    assert all(photo.mode == "RGB" and max(photo.size) <= 320 for photo in materials.photos("train"))


def test_a_pickled_copy_reads_the_same_material_again():
    copy = pickle.loads(pickle.dumps(Materials()))
    assert copy.names == Materials().names
    assert copy.facts["dog"].legs == 4 and copy.facts["dog"].kind == "animal"
