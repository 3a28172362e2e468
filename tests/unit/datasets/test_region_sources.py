"""Annotation files as sources of a recipe: found, counted, fingerprinted, and the same after a move."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_fixture import small_processor
from mm15.base.errors import ConfigError
from mm15.base.types import Category
from mm15.data.source import Source, SourceConfig
from rows_fixture import save_picture, write_json

BOX = [10, 20, 30, 30]


def captions(folder: Path) -> None:
    for part in ("Annotations", "Sentences"):
        (folder / part).mkdir(parents=True)
    for name in "12":
        (folder / f"Annotations/{name}.xml").write_text(
            "<annotation><size><width>90</width><height>60</height></size><object><name>7</name><bndbox><xmin>1</xmin>"
            "<ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )
        (folder / f"Sentences/{name}.txt").write_text("[/EN#7/people a man] runs\nit rains\n")
        save_picture(folder / f"flickr30k-images/{name}.jpg")
    (folder / "train.txt").write_text("1\n2\n")


def expressions(folder: Path) -> None:
    images = [{"id": k, "file_name": "a.jpg", "width": 90, "height": 60, "caption": f"dog {k}"} for k in range(3)]
    boxes = [{"image_id": k, "bbox": BOX if k < 2 else [1, 2, 0, 4]} for k in range(3)]
    write_json(folder / "train.json", {"images": images, "annotations": boxes})
    save_picture(folder / "a.jpg")


def source(folder: Path, **config: Any) -> Source:
    return Source(SourceConfig(name="set", category=Category.REFER_GROUND, **config), folder)


@pytest.mark.parametrize(
    ("make", "path", "config", "unusable"),
    [
        (expressions, "train.json", {"format": "coco-refs"}, ["train.json:images[2]: box [1, 2, 0, 4]"]),
        (
            lambda folder: captions(folder / "flickr"),
            "flickr",
            {"format": "flickr-entities"},
            ["Sentences/1.txt:2: no phrase", "Sentences/2.txt:2: no phrase"],
        ),
    ],
)
def test_annotations_are_a_source(tmp_path: Path, make: Any, path: str, config: Any, unusable: list[str]):
    make(tmp_path / "data")
    first = source(tmp_path / "data", path=path, **config)
    costs, skips = first.scan(small_processor())
    assert len(first) == len(costs) and (costs[:, 1] > 0).sum() == len(first) - len(unusable)
    assert all(wanted in str(skip) for wanted, skip in zip(unusable, skips, strict=True))
    copy = pickle.loads(pickle.dumps(first))
    assert copy.sample(0) == first.sample(0) and copy.address(0) == first.address(0)
    fingerprint = first.fingerprint
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    shutil.rmtree(tmp_path / "data")
    for kept in [*(tmp_path / "moved").rglob("*.rows*")]:
        kept.unlink()
    assert source(tmp_path / "moved", path=path, **config).fingerprint == fingerprint


def test_an_option_that_a_format_does_not_have_is_refused_by_name(tmp_path: Path):
    with pytest.raises(Exception, match="mode"):
        source(tmp_path, path="a.json", format="coco-refs", options={"modes": "mdetr-json"})


def test_a_missing_part_of_a_data_set_stops_with_its_name(tmp_path: Path):
    expressions(tmp_path)
    found = source(tmp_path, path="train.json", format="visual-genome")
    with pytest.raises(ConfigError, match=r"image_data\.json"):
        len(found)
