"""Reasons are sorted into kinds with a fix; rows are shown as one short line."""

from __future__ import annotations

import pytest

from mm15.base.types import MediaRef
from mm15.data.faults import EXCERPT, KINDS, classify, excerpt, fault
from mm15.io.tar import REASONS


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("picture 0 (a.jpg): JPEG cannot be decoded: image file is truncated", "damaged picture"),
        ("picture 0 (a.jpg): not a readable PNG file (starts with b'<html>')", "web page in place of a picture"),
        ("picture 1 (a.png): 13000 x 13000 px is more than the 64000000 pixels allowed", "picture too large"),
        ("not valid JSON: 'utf-8' codec can't decode byte 0xef in position 3", "not UTF-8"),
        ("not valid JSON: Expecting value: line 1 column 1 (char 0)", "not valid JSON"),
        ("not valid JSON: the field 'a' stands twice in one object", "field twice"),
        ("box [3, 4] has no area; expected x1 < x2 and y1 < y2 in pixels", "box inverted or empty"),
        ("box [1, 2, 99, 4] lies outside its 9x9 picture", "box outside its picture"),
        ("2 <image> placeholders for 1 pictures", "placeholders and pictures differ"),
        ("cannot be read: [Errno 2] No such file or directory: 'x'", "file missing"),
        ("'../a' must be relative to the data folder and stay inside it", "unsafe path"),
        ("9 tokens (3 tiles of 2) are more than max_tokens = 4", "too long"),
    ],
)  # fmt: skip
def test_a_reason_has_a_kind_and_a_fix(reason: str, kind: str):
    found, fix = classify(reason)
    assert found == kind and fix


def test_every_fault_of_a_tar_has_a_kind_of_its_own():
    kinds = [classify(f"member 'a' {reason}")[0] for reason in REASONS]
    assert len(set(kinds)) == len(REASONS) and all(kind.startswith("tar: ") for kind in kinds)


def test_kinds_have_different_fixes_or_names():
    assert all(kind.name and kind.fix for kind in KINDS)


def test_a_reason_of_no_kind_is_its_own_without_names_and_numbers():
    assert classify("answer 17.5 of 'abc' (row 3) is odd") == classify("answer 2 of 'x' (row 99) is odd")
    assert classify("answer 17.5 of 'abc' (row 3) is odd")[0] == "answer N of … … is odd"


def test_rows_are_short_and_hold_no_bytes():
    row = {"image": b"12345", "ref": MediaRef("a.tar", "0.jpg"), "list": [b"1", {"x": "ü"}], "half": "\ud800"}
    text = '{"image": "<5 bytes>", "ref": "0.jpg", "list": ["<1 bytes>", {"x": "ü"}], "half": "\\ud800"}'
    assert excerpt(row) == text
    assert excerpt(b"\xff{not json\n") == "\\xff{not json" and excerpt(None) == ""
    assert len(excerpt({"text": "x" * 10_000})) == EXCERPT
    assert str(fault("set", "a.jsonl:3", "an empty caption")) == "a.jsonl:3: an empty caption"
