"""Documents of text and pictures in the four layouts in which they are published."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from format_fixture import Opened, made, picture, refused, tiff, told, write_parquet, write_tar
from mm15.base.types import Category, Role, Sample
from mm15.images.pixels import open_picture
from mm15.io.media import read_bytes
from mm15.io.store import ImageStore


def parts(sample: Sample) -> list[Any]:
    (message,) = sample.messages
    assert message.role is Role.DOCUMENT and message.trained
    return told(message.parts)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """The copies of https://x/a.jpg and https://x/b.jpg, by the hash of their address."""
    folder = tmp_path / "store"
    folder.mkdir()
    for name in ("a", "b"):
        digest = hashlib.sha256(f"https://x/{name}.jpg".encode()).hexdigest()
        (folder / f"{digest}.jpg").write_bytes(picture(30, 20, form="JPEG"))
    return ImageStore(folder)


OBELICS = {
    "images": [None, "https://x/a.jpg", "https://x/gone.jpg", None, "https://x/b.jpg"],
    "texts": ["Intro.\n\nStill the intro.", None, None, "More.", None],
    "metadata": json.dumps([None, {"src": "https://x/a.jpg"}, {"src": "https://x/gone.jpg"}, None, {}]),
    "general_metadata": json.dumps({"url": "https://x"}),
}


# obelics


def test_obelics_in_parquet_with_a_store_of_copies(tmp_path: Path, store: ImageStore):
    opened = Opened("interleaved", write_parquet(tmp_path / "o.parquet", [OBELICS]), Category.INTERLEAVED, store)
    sample = opened.sample()
    a, b = (hashlib.sha256(f"https://x/{name}.jpg".encode()).hexdigest() for name in ("a", "b"))
    assert parts(sample) == ["Intro.\n\nStill the intro.", f"<{a}.jpg>", "More.", f"<{b}.jpg>"]
    assert sample.meta["dropped_images"] == 1
    assert sample.meta["general_metadata"] == {"url": "https://x"} and sample.meta["metadata"][1]["src"].endswith(
        "a.jpg"
    )


def test_texts_around_a_picture_that_is_missing_become_paragraphs(tmp_path: Path, store: ImageStore):
    row = {"images": [None, "https://x/gone.jpg", None], "texts": ["One.", None, "Two."]}
    opened = Opened("interleaved", write_parquet(tmp_path / "o.parquet", [row]), store=store)
    assert parts(opened.sample()) == ["One.\n\nTwo."] and opened.sample().meta["dropped_images"] == 1
    few = Opened("interleaved", tmp_path / "o.parquet", store=store, min_images=1)
    assert few.refused() == "0 pictures are left (1 dropped), min_images is 1"


def test_without_a_store_an_address_is_refused_not_dropped(tmp_path: Path):
    opened = Opened("interleaved", write_parquet(tmp_path / "o.parquet", [OBELICS]))
    assert "network address" in opened.refused() and "no store" in opened.refused()


def test_pictures_in_the_table_keep_their_stated_sizes(tmp_path: Path):
    row = {"images": [{"bytes": picture(), "path": None}, None], "texts": [None, "A."], "width": [30], "height": [20]}
    image = Opened("interleaved", write_parquet(tmp_path / "o.parquet", [row])).sample().images[0]
    assert (image.width, image.height) == (30, 20) and image.media.data == picture()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"images": [None], "texts": ["a"], "metadata": "{"}, "not valid JSON"),
        ({"images": "a.jpg", "texts": ["a"]}, "two lists of one length"),
        ({"images": ["../a.jpg", None], "texts": [None, "a"]}, "stay inside"),
        ({"images": [None], "texts": [" "]}, "without text"),
    ],
)
def test_obelics_refuses_broken_rows(row: dict[str, Any], reason: str):
    assert reason in refused("interleaved", row)


# mmc4


def mmc4(*images: tuple[Any, int], texts: tuple[str, ...] = ("One.", "Two.", "Three.")) -> dict[str, Any]:
    info = [
        {"image_name": name, "raw_url": f"https://x/{name}", "matched_text_index": index, "face_detections": None}
        for name, index in images
    ]
    return {"url": "https://x", "text_list": list(texts), "image_info": info, "similarity_matrix": [[0.1] * 3]}


def test_mmc4_pictures_stand_before_or_after_their_sentence(tmp_path: Path):
    path = tmp_path / "docs.jsonl"
    path.write_text(json.dumps(mmc4(("b.jpg", 1), ("c.jpg", 1), ("a.jpg", 0))), encoding="utf-8")
    sample = Opened("interleaved", path).sample()
    assert parts(sample) == ["<a.jpg>", "One.", "<b.jpg>", "<c.jpg>", "Two. Three."]
    assert sample.meta == {"url": "https://x"}
    after = Opened("interleaved", path, image_position="after", sentence_joiner="\n").sample()
    assert parts(after) == ["One.", "<a.jpg>", "Two.", "<b.jpg>", "<c.jpg>", "Three."]


def test_mmc4_finds_pictures_by_address_in_the_store_and_drops_others(tmp_path: Path, store: ImageStore):
    path = tmp_path / "docs.jsonl"
    path.write_text(json.dumps(mmc4(("a.jpg", 2), ("gone.jpg", 0))), encoding="utf-8")
    sample = Opened("interleaved", path, store=store).sample()
    assert parts(sample)[0] == "One. Two." and parts(sample)[2] == "Three." and len(sample.images) == 1
    assert sample.meta["dropped_images"] == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (mmc4(("a.jpg", 3)), "image 0: 'matched_text_index' 3 is not one of the 3 sentences"),
        (mmc4(("a.jpg", -1)), "'matched_text_index' -1"),
        (mmc4(("a.jpg", True)), "'matched_text_index' True"),
        (mmc4(texts=()), "without text"),
        (mmc4() | {"image_info": None}, "'image_info' must be a list"),
        (mmc4() | {"text_list": [3]}, "'text_list' must be a list of texts"),
        (mmc4() | {"image_info": [{"matched_text_index": 0}]}, "neither 'image_name' nor 'raw_url'"),
    ],
)
def test_mmc4_refuses_broken_rows(row: dict[str, Any], reason: str):
    assert reason in refused("interleaved", row)


# mint


def mint(folder: Path, record: Any, *frames: tuple[int, int], **members: bytes) -> Path:
    content: dict[str, bytes | str] = {"doc1.json": record if isinstance(record, bytes) else json.dumps(record)}
    if frames:
        content["doc1.tiff"] = tiff(*frames)
    return write_tar(folder / "shard.tar", content | {f"doc1.{name}": data for name, data in members.items()})


ARXIV = {"texts": ["A.", None, "B.", None, None], "images": [None, "f1", None, "f2", "f3"], "language_id": "en"}


def test_the_kth_picture_of_mint_is_frame_k_of_the_tiff(tmp_path: Path):
    sample = Opened("interleaved", mint(tmp_path, ARXIV, (30, 20), (40, 20), (50, 20))).sample()
    assert parts(sample) == ["A.", "<shard.tar:doc1.tiff>", "B.", *["<shard.tar:doc1.tiff>"] * 2]
    assert [(image.media.frame, image.width, image.height) for image in sample.images] == [
        (0, 30, 20),
        (1, 40, 20),
        (2, 50, 20),
    ]
    third = open_picture(read_bytes(sample.images[2].media), frame=2)
    assert third.size == (50, 20) and third.getpixel((0, 0)) == (30, 30, 30)
    assert sample.meta["language_id"] == "en" and sample.meta["__key__"] == "doc1"


def test_page_and_xref_find_the_frame_where_the_listing_has_them(tmp_path: Path):
    record = {
        "texts": ["A.", None, None, None],
        "images": [None, "page_2_image_9", "page_1_image_7", "page_2_image_9"],
        "image_metadata": [{"page": 1, "xref": 7, "sha256": "s"}, {"page": 2, "xref": 9}],
    }
    sample = Opened("interleaved", mint(tmp_path, record, (30, 20), (40, 20))).sample()
    assert [image.media.frame for image in sample.images] == [1, 0, 1]


def test_frames_that_a_short_tiff_does_not_have_are_dropped_and_counted(tmp_path: Path):
    sample = Opened("interleaved", mint(tmp_path, ARXIV, (30, 20))).sample()
    assert parts(sample) == ["A.", "<shard.tar:doc1.tiff>", "B."] and sample.meta["dropped_images"] == 2


def test_a_mint_document_without_pictures_needs_no_tiff(tmp_path: Path):
    assert parts(Opened("interleaved", mint(tmp_path, {"texts": ["A."], "images": [None]})).sample()) == ["A."]


def test_mint_html_in_parquet_is_read_in_either_mode(tmp_path: Path, store: ImageStore):
    row = {"images": ["https://x/a.jpg", None], "texts": [None, "Html."], "url": "https://x"}
    path = write_parquet(tmp_path / "m.parquet", [row])
    for mode in ("auto", "mint"):
        assert parts(Opened("interleaved", path, store=store, mode=mode).sample())[1] == "Html."


@pytest.mark.parametrize(
    ("record", "frames", "members", "reason"),
    [
        (ARXIV, (), {}, "has pictures but no member 'tiff'"),
        (ARXIV, (), {"tiff": b"II*\0 damaged"}, "not a readable"),
        (ARXIV, (), {"tiff": b""}, "empty: 0 bytes"),
        (b"\xff\xfe", ((30, 20),), {}, "not UTF-8"),
        ([], ((30, 20),), {}, "must be an object, found list"),
        ({"texts": ["A."]}, ((30, 20),), {}, "two lists of one length"),
    ],
)
def test_mint_refuses_broken_documents(tmp_path: Path, record: Any, frames: Any, members: Any, reason: str):
    assert reason in Opened("interleaved", mint(tmp_path, record, *frames, **members)).refused()


# numbered members of a tar

PIECES: dict[str, bytes | str] = {
    "doc.10.text.txt": "Last.",
    "doc.0.text.txt": "First.",
    "doc.2.image.jpg": picture(30, 20, form="JPEG"),
    "doc.metadata.txt": "doc.0.text.txt\ndoc.2.image.jpg\ndoc.10.text.txt",
}


def test_numbered_members_come_in_the_order_of_their_numbers(tmp_path: Path):
    sample = Opened("interleaved", write_tar(tmp_path / "s.tar", PIECES)).sample()
    assert parts(sample) == ["First.", "<s.tar:doc.2.image.jpg>", "Last."]


def test_a_document_in_a_folder_of_the_tar(tmp_path: Path):
    listing = "./a/doc.0.text.txt\n./a/doc.2.image.jpg\n./a/doc.10.text.txt\n"
    members = {f"./a/{name}": data for name, data in (PIECES | {"doc.metadata.txt": listing}).items()}
    assert parts(Opened("interleaved", write_tar(tmp_path / "s.tar", members)).sample())[::2] == ["First.", "Last."]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"doc.10.text.txt": None}, "cut off: 1 of 3 members missing, first doc.10.text.txt"),
        ({"doc.metadata.txt": None}, "no member 'metadata.txt'"),
        ({"doc.metadata.txt": "\n"}, "lists no members"),
        ({"doc.2.text.txt": "Twice."}, "two members have the number 2"),
        ({"doc.3.sound.mp3": b"x"}, "member '3.sound.mp3' is neither"),
        ({"doc.0.text.txt": b"\xff"}, "not UTF-8"),
    ],
)
def test_numbered_members_that_are_not_whole_are_refused(tmp_path: Path, change: dict[str, Any], reason: str):
    members = {name: data for name, data in (PIECES | change).items() if data is not None}
    assert reason in Opened("interleaved", write_tar(tmp_path / "s.tar", members)).refused()


def test_a_stated_mode_overrules_the_content():
    row = {"images": [None], "texts": ["A."], "text_list": ["B."], "image_info": []}
    assert parts(made("interleaved", row)) == ["B."] and parts(made("interleaved", row, mode="obelics")) == ["A."]
