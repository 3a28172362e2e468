"""What rows name, and the only way from there to bytes, texts and upright boxes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_fixture import write_tar
from mm15.base.errors import PictureError, SkipSample
from mm15.base.types import Box, Category, ImagePart, MediaRef
from mm15.datasets._context import MissingMedia, RowContext, oriented_box, upright
from mm15.images.pixels import open_picture
from mm15.io.store import ImageStore
from mm15.io.tar import TarRows


def context(root: Path, **more) -> RowContext:
    return RowContext("set", Category.GENERAL, "set/0", str(root), **more)


def test_media_by_name_by_reference_by_bytes_and_by_struct(tmp_path: Path):
    ref = MediaRef("x.tar", "a.jpg", 512, 4)
    here = context(tmp_path)
    assert here.media("sub/a.jpg") == MediaRef(f"{tmp_path}/sub/a.jpg")
    assert here.media(ref) is ref
    assert here.media(b"abc") == here.media({"bytes": b"abc", "path": "a.jpg"}) == MediaRef(data=b"abc")
    assert here.media({"bytes": None, "path": "a.jpg"}) == here.media({"path": "a.jpg"}) == here.media("a.jpg")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "None is not a file name"),
        (7, "7 is not a file name"),
        ("", "'' is not a file name"),
        ("a\0b", "is not a file name"),
        ({}, "{} is not a file name"),
        ({"bytes": None, "path": None}, "None is not a file name"),
        ({"bytes": "text", "path": "a"}, "'bytes' holds a str"),
        ({"url": "a.jpg"}, "is not a file name"),
        ("/etc/passwd", "must be relative"),
        ("a/../../b.jpg", "stay inside"),
        ({"bytes": None, "path": "/etc/passwd"}, "must be relative"),
        ("https://x/a.jpg", "network address.*the source has no store"),
        ("file:///etc/passwd", "network address"),
    ],
)
def test_what_names_no_media_is_refused(tmp_path: Path, value: object, reason: str):
    with pytest.raises(SkipSample, match=reason):
        context(tmp_path).media(value)


def test_a_network_address_is_its_copy_in_the_store(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"dog")
    here = context(tmp_path / "rows", store=ImageStore(tmp_path, "name"))
    assert here.read("https://x/a.jpg") == b"dog"
    with pytest.raises(MissingMedia, match=r"b\.jpg' is a network address.*not in the store"):
        here.media("https://x/b.jpg")


def test_texts_and_json_from_wherever_they_are(tmp_path: Path):
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfStra\xc3\x9fe")
    members = [("1.txt", "Grüße\n".encode()), ("1.json", b'{"a": [1]}'), ("2.txt", b"\xff"), ("2.json", b"[" * 9999)]
    rows = TarRows(write_tar(tmp_path / "a.tar", members))
    good, bad, here = rows.row(0), rows.row(1), context(tmp_path)
    assert here.text("as it is") == "as it is" and here.text(good["txt"]) == "Grüße\n"
    assert here.text(MediaRef(f"{tmp_path}/bom.txt")) == "Straße" and here.text({"path": "bom.txt"}) == "Straße"
    assert here.json(good["json"]) == here.json('{"a": [1]}') == here.json({"a": [1]}) == {"a": [1]}
    assert here.json([2]) == [2] and here.json(b"[3]") == [3] and here.json({"bytes": b"4", "path": None}) == 4
    for call, value, reason in [
        (here.text, bad["txt"], r"a\.tar:2\.txt is not UTF-8"),
        (here.text, None, "None is not a file name"),
        (here.json, bad["json"], r"a\.tar:2\.json is not valid JSON"),
        (here.json, "{broken", "'{broken' is not valid JSON"),
        (lambda ref: here.read(ref, max_bytes=3), good["txt"], "8 bytes is not between 0 and the 3 allowed"),
        (here.read, "none.txt", r"none\.txt: cannot be read"),
    ]:
        with pytest.raises(SkipSample, match=reason):
            call(value)


def test_images_with_and_without_their_size(tmp_path: Path):
    here = context(tmp_path)
    ref = here.media("a.png")
    assert here.image("a.png") == here.image("a.png", None, None) == ImagePart(ref)
    assert here.image({"bytes": b"x", "path": None}, 90, 60) == ImagePart(MediaRef(data=b"x"), 90, 60)
    for sides in [(90, 0), (None, 60), (90.0, 60), (True, True), (-1, 5), ("9", "6")]:
        with pytest.raises(SkipSample, match="must be two whole numbers above 0"):
            here.image("a.png", *sides)


def test_samples_of_a_row_are_numbered_and_media_are_no_meta(tmp_path: Path):
    ref = MediaRef("x.tar", "a.jpg", 0, 1)
    row = {"id": 7, "jpg": ref, "image": {"bytes": b"x", "path": "a"}, "list": [b"x"], "text": "t", "used": 1}
    here = context(tmp_path)
    assert here.sample(row, [], {"used"}).key == "set/0" and here.sample(row, [], set(), 3).key == "set/0/3"
    assert here.sample(row, [], {"used"}).meta == {"id": 7, "text": "t"}


def picture(orientation: int, width: int = 60, height: int = 40, kind: str = "PNG") -> bytes:
    """A picture whose pixels [10:22] x [4:13] are white and all others black, with an EXIF orientation."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[4:13, 10:22] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == "TIFF":
        image.save(buffer, kind, tiffinfo={0x0112: orientation})
    else:
        image.save(buffer, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_annotated_box_lies_on_what_it_names_after_turning(tmp_path: Path, orientation: int, kind: str):
    data = picture(orientation, kind=kind)
    box = oriented_box(context(tmp_path), data, [10, 4, 22, 13], 60, 40, image=2)
    pixels = np.asarray(open_picture(data))[..., 0] > 127
    rows, columns = np.nonzero(pixels)
    assert box == Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 2)
    part = upright(context(tmp_path), data).part
    assert (part.height, part.width) == pixels.shape == ((60, 40) if orientation > 4 else (40, 60))


def test_boxes_on_a_size_that_is_the_upright_one_are_not_turned(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture(6))
    here = context(tmp_path)
    turned = upright(here, "a.png", 40, 60)
    assert turned.box([1, 2, 30, 50]) == Box(1, 2, 30, 50) and (turned.part.width, turned.part.height) == (40, 60)
    with pytest.raises(SkipSample, match="outside the picture of 40 x 60"):
        turned.box([1, 2, 50, 30])
    assert upright(here, "a.png", 60, 40).box([1, 2, 50, 30]) == Box(10, 1, 38, 50)
    with pytest.raises(SkipSample, match=r"the row states 50 x 50 px, but .*a\.png has 40 x 60"):
        upright(here, "a.png", 50, 50)


def test_a_missing_picture_is_left_to_encoding_where_the_row_states_its_size(tmp_path: Path):
    here = context(tmp_path)
    assert oriented_box(here, "none.png", [1, 2, 30, 20], 60, 40) == Box(1, 2, 30, 20)
    with pytest.raises(SkipSample, match=r"none\.png: cannot be read"):
        upright(here, "none.png")
    with pytest.raises(PictureError, match="empty: 0 bytes"):
        upright(here, b"", 60, 40)
