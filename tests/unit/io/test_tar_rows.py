"""Rows of tar files: members by key, where they lie, and every member that is refused."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from data_fixture import write_tar
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.types import MediaRef
from mm15.io import index as index_module
from mm15.io import tar as tar_module
from mm15.io.media import read_bytes
from mm15.io.tar import TarRows


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


MEMBERS = [
    ("000/0001.jpg", b"first picture"),
    ("000/0001.TXT", b"first text"),
    ("./000/0002.image.jpg", b"second picture"),
    ("001/0001.jpg", b"same name, other folder"),
    ("000/0002.0.text.txt", b""),
    ("000/0001.json", b"{}"),
]


def test_members_of_one_key_are_one_row_wherever_they_stand(tmp_path: Path):
    rows = TarRows(write_tar(tmp_path / "a.tar", MEMBERS))
    assert len(rows) == 3
    assert [rows.row(k)["__key__"] for k in range(3)] == ["000/0001", "000/0002", "001/0001"]
    assert [list(rows.row(k)) for k in range(3)] == [
        ["__key__", "jpg", "txt", "json"],
        ["__key__", "image.jpg", "0.text.txt"],
        ["__key__", "jpg"],
    ]
    assert [rows.address(k) for k in (0, 2)] == [f"{tmp_path}/a.tar:000/0001", f"{tmp_path}/a.tar:001/0001"]
    with pytest.raises(IndexError, match="has 3 rows, there is no row 3"):
        rows.row(3)


def test_references_give_the_bytes_by_place_and_by_name(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", MEMBERS)
    row = TarRows(path).row(0)
    assert {field: read_bytes(ref) for field, ref in row.items() if field != "__key__"} == {
        "jpg": b"first picture",
        "txt": b"first text",
        "json": b"{}",
    }
    ref = row["txt"]
    assert ref == MediaRef(str(path), "000/0001.TXT", ref.offset, 10) and ref.offset > 0
    assert read_bytes(MediaRef(str(path), ref.member)) == b"first text"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_of_every_tar_format(tmp_path: Path, format: int):
    folder = "d" * 90
    names = [f"{folder}/{'e' * 60}.jpg"] if format == tarfile.USTAR_FORMAT else [f"{folder}/{'e' * 120}.jpg"]
    if format != tarfile.USTAR_FORMAT:
        names.append("Straße/日本.jpg")
    rows = TarRows(write_tar(tmp_path / "a.tar", [(name, name.encode()) for name in names], format=format))
    assert [rows.row(k)["__key__"] for k in range(len(rows))] == [name.removesuffix(".jpg") for name in names]
    assert [read_bytes(rows.row(k)["jpg"]).decode() for k in range(len(rows))] == names


def test_the_index_is_made_once_and_follows_the_file(tmp_path: Path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", MEMBERS)
    first = TarRows(path).row(1)
    assert (tmp_path / "a.tar.rows.idx").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(tar_module, "_scan", lambda *_: pytest.fail("the tar was walked again"))
        assert TarRows(path).row(1) == first
        assert pickle.loads(pickle.dumps(TarRows(path))).row(1) == first
    assert len(pickle.dumps(TarRows(path))) < 500
    write_tar(path, MEMBERS[:1])
    assert len(TarRows(path)) == 1
    (tmp_path / "a.tar.rows.idx").write_bytes(b"junk")
    assert len(TarRows(path)) == 1


def test_a_read_only_folder_is_no_obstacle(tmp_path: Path, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(index_module, "write_atomic", refuse)
    rows = TarRows(write_tar(tmp_path / "a.tar", MEMBERS))
    assert read_bytes(rows.row(1)["image.jpg"]) == b"second picture"
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_folders_and_hidden_files_are_no_rows(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", [("._0001.jpg", b"x"), ("a/.DS_Store", b"x"), ("0001.jpg", b"yes")])
    with tarfile.open(path, "a") as archive:
        archive.addfile(special("folder.d", tarfile.DIRTYPE))
    rows = TarRows(path)
    assert len(rows) == 1 and read_bytes(rows.row(0)["jpg"]) == b"yes"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (special("bad.jpg", tarfile.SYMTYPE, "/etc/hostname"), "'bad.jpg' is a link"),
        (special("bad.jpg", tarfile.LNKTYPE, "good.jpg"), "'bad.jpg' is a link"),
        (special("bad.jpg", tarfile.CHRTYPE), "is no regular file"),
        (special("bad.jpg", tarfile.FIFOTYPE), "is no regular file"),
        (special("bad", tarfile.REGTYPE), "'bad' has no suffix"),
        (special("../bad.jpg", tarfile.REGTYPE), "is an unsafe name"),
        (special("/bad.jpg", tarfile.REGTYPE), "is an unsafe name"),
        (special("d/" * 20 + "bad.jpg", tarfile.REGTYPE), "is an unsafe name"),
        (special("good.JPG", tarfile.REGTYPE), "'good.JPG' stands twice"),
    ],
)
def test_members_that_cannot_be_used_spoil_their_row_only(tmp_path: Path, member: tarfile.TarInfo, reason: str):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("good.jpg", "other.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
        archive.addfile(member)
    rows = TarRows(path)
    usable, refused = [], []
    for number in range(len(rows)):
        try:
            usable.append(rows.row(number)["__key__"])
        except SkipSample as skip:
            refused.append(str(skip))
    assert usable == (["other"] if "twice" in reason else ["good", "other"])
    assert len(refused) == 1 and reason in refused[0] and str(path) in refused[0]


def test_a_sparse_member_is_refused_and_what_follows_is_found(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", [("good.jpg", b"data")])
    header = bytearray(special("bad.jpg", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"00000000005\0"  # Five bytes of data behind the map.
    header[482] = 1  # The map goes on in one more block.
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    good = write_tar(tmp_path / "b.tar", [("after.jpg", b"after")]).read_bytes()
    path.write_bytes(path.read_bytes()[:1024] + bytes(header) + bytes(512) + b"12345".ljust(512, b"\0") + good)
    rows = TarRows(path)
    assert len(rows) == 3 and read_bytes(rows.row(2)["jpg"]) == b"after"
    with pytest.raises(SkipSample, match=r"a\.tar:bad: member 'bad\.jpg' is a sparse file"):
        rows.row(1)


def test_a_cut_tail_is_one_bad_row(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", [(f"{k}.jpg", bytes([k]) * 700) for k in range(4)])
    path.write_bytes(path.read_bytes()[: 3 * 1536 + 512 + 100])
    rows = TarRows(path)
    assert len(rows) == 4
    assert [read_bytes(rows.row(k)["jpg"]) for k in range(3)] == [bytes([k]) * 700 for k in range(3)]
    with pytest.raises(SkipSample, match=r"a\.tar:3: member '3\.jpg' is cut off"):
        rows.row(3)


@pytest.mark.parametrize("cut", [1536 + 100, 1536 + 511])
def test_a_cut_header_is_one_bad_row(tmp_path: Path, cut: int):
    path = write_tar(tmp_path / "a.tar", [(f"{k}.jpg", bytes([k]) * 700) for k in range(4)])
    path.write_bytes(path.read_bytes()[:cut])
    rows = TarRows(path)
    assert len(rows) == 2 and read_bytes(rows.row(0)["jpg"]) == bytes(700)
    with pytest.raises(SkipSample, match=r"a\.tar:byte 1536: .* is damaged"):
        rows.row(1)


def test_a_damaged_header_ends_the_rows_with_a_bad_one(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", [(f"{k}.jpg", bytes([k]) * 700) for k in range(4)])
    data = bytearray(path.read_bytes())
    data[1536 + 5] ^= 0xFF
    path.write_bytes(data)
    rows = TarRows(path)
    assert len(rows) == 2
    with pytest.raises(SkipSample, match="what follows it in the file cannot be read"):
        rows.row(1)


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"\xff" * 12])
def test_absurd_sizes_are_refused(tmp_path: Path, size: bytes):
    path = write_tar(tmp_path / "a.tar", [("0.jpg", b"data"), ("1.jpg", b"data")])
    data = bytearray(path.read_bytes())
    data[1024 + 124 : 1024 + 136] = size
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    path.write_bytes(data)
    rows = TarRows(path)
    assert len(rows) == 2 and read_bytes(rows.row(0)["jpg"]) == b"data"
    with pytest.raises(SkipSample, match=r"is cut off|is damaged"):
        rows.row(1)


def test_a_huge_extended_header_is_not_read(tmp_path: Path):
    path = tmp_path / "a.tar"
    good = write_tar(tmp_path / "b.tar", [("0.jpg", b"data")]).read_bytes()[:1024]
    header = bytearray(special("long", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"00000000000\0".replace(b"00000000000", b"%011o" % (8 << 20))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(good + bytes(header) + bytes(16 << 20))
    rows = TarRows(path)
    assert len(rows) == 2
    with pytest.raises(SkipSample, match="is damaged"):
        rows.row(1)


def test_what_was_appended_behind_the_end_mark_is_found(tmp_path: Path):
    one, two = (write_tar(tmp_path / f"{k}.tar", [(f"{k}.jpg", k.encode())]).read_bytes() for k in ("a", "b"))
    (tmp_path / "both.tar").write_bytes(one + two)
    rows = TarRows(tmp_path / "both.tar")
    assert [read_bytes(rows.row(k)["jpg"]) for k in range(2)] == [b"a", b"b"]


def test_names_that_are_no_utf8_are_shown_escaped(tmp_path: Path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        info = tarfile.TarInfo("Stra\xdfe.jpg")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"data"))
    row = TarRows(path).row(0)
    assert row["__key__"] == "Stra\\xdfe" and read_bytes(row["jpg"]) == b"data"


def test_what_is_no_tar_is_refused_by_name(tmp_path: Path):
    tar = write_tar(tmp_path / "a.tar", MEMBERS)
    for data, reason in [
        (gzip.compress(tar.read_bytes()), "compressed \\(gzip\\), so without random access"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "compressed \\(zstd\\)"),
        (b"<html>404</html>" * 100, "not a tar file"),
        (b"", "not a tar file"),
    ]:
        tar.write_bytes(data)
        with pytest.raises(ConfigError, match=rf"a\.tar: {reason}"):
            TarRows(tar)
    with pytest.raises(FileNotFoundError):
        TarRows(tmp_path / "none.tar")


def test_an_empty_tar_has_no_rows(tmp_path: Path):
    assert len(TarRows(write_tar(tmp_path / "a.tar", []))) == 0


def test_opening_does_not_read_the_members(tmp_path: Path):
    path = write_tar(tmp_path / "a.tar", [("0.jpg", b"data")])
    data = path.read_bytes()[:1024]
    with path.open("wb") as file:
        for number in range(3):
            header = tarfile.TarInfo(f"big{number}.jpg")
            header.size = 1 << 32
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.seek(1 << 32, os.SEEK_CUR)
        file.write(data)
        file.truncate(file.tell() + 1024)
    rows = TarRows(path)
    assert len(rows) == 4 and read_bytes(rows.row(3)["jpg"]) == b"data"
    with pytest.raises(SkipSample, match="4294967296 bytes is not between"):
        read_bytes(rows.row(0)["jpg"])
