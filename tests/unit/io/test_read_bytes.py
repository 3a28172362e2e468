"""Bytes by address: files and tar members, never outside of the root."""

import io
import os
import tarfile

import pytest

from mm15.base.errors import SkipSample
from mm15.base.types import MediaRef
from mm15.io.media import path_under, read_bytes


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / "images" / "a.png").write_bytes(b"picture a")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root-sibling").mkdir()
    (tmp_path / "root-sibling" / "b.png").write_bytes(b"sibling")
    return root


@pytest.fixture
def tar(root):
    path = root / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in [("0001.jpg", b"first"), ("../0002.jpg", b"second member"), ("0003.jpg", b"")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    return path


def test_a_file_under_the_root(root):
    assert read_bytes(MediaRef("images/a.png"), root) == b"picture a"
    assert read_bytes(MediaRef(str(root / "images/a.png"))) == b"picture a"


def test_bytes_in_hand():
    assert read_bytes(MediaRef(data=b"xyz")) == b"xyz"
    with pytest.raises(SkipSample, match=r"<3 bytes>: a size of 3 bytes is not between 0 and the 2 allowed"):
        read_bytes(MediaRef(data=b"xyz"), max_bytes=2)


@pytest.mark.parametrize(
    "path", ["../secret.png", "images/../../secret.png", "images/../images/a.png", "/etc/hostname", "a\0b", ".."]
)
def test_paths_that_could_leave_the_root_are_refused(root, path):
    with pytest.raises(SkipSample, match="relative path without"):
        read_bytes(MediaRef(path), root)


def test_links_out_of_the_root_are_refused(root):
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "out").symlink_to(root.parent / "root-sibling")
    for path in ("out.png", "out/b.png"):
        with pytest.raises(SkipSample, match=f"{path}: a symbolic link leads out of"):
            read_bytes(MediaRef(path), root)


def test_links_inside_and_a_linked_root_are_fine(root, tmp_path):
    (root / "alias.png").symlink_to(root / "images" / "a.png")
    (tmp_path / "linked").symlink_to(root)
    assert read_bytes(MediaRef("alias.png"), tmp_path / "linked") == b"picture a"
    assert path_under(tmp_path / "linked", "alias.png") == root.resolve() / "images" / "a.png"


def test_missing_files_folders_and_pipes_are_refused(root):
    os.mkfifo(root / "pipe")
    for path, reason in [("none.png", "No such file"), ("images", "not a regular"), ("pipe", "not a regular")]:
        with pytest.raises(SkipSample, match=f"^{path}: .*{reason}"):
            read_bytes(MediaRef(path), root)
    with pytest.raises(SkipSample, match="names no file"):
        read_bytes(MediaRef(), root)


def test_the_byte_budget_is_checked_before_reading(root, tar):
    with (root / "big.png").open("wb") as file:
        file.truncate(1 << 33)
    for ref in (MediaRef("big.png"), MediaRef("shard.tar", offset=0, size=1 << 33)):
        with pytest.raises(SkipSample, match="8589934592 bytes is not between"):
            read_bytes(ref, root)
    with pytest.raises(SkipSample, match="13 bytes is not between 0 and the 5 allowed"):
        read_bytes(MediaRef("shard.tar", member="../0002.jpg"), root, max_bytes=5)


def test_tar_members_by_name_and_by_place(root, tar):
    assert read_bytes(MediaRef("shard.tar", member="0001.jpg"), root) == b"first"
    assert read_bytes(MediaRef("shard.tar", member="../0002.jpg"), root) == b"second member"
    assert read_bytes(MediaRef("shard.tar", member="0003.jpg"), root) == b""
    with tarfile.open(tar) as archive:
        offset = archive.getmember("../0002.jpg").offset_data
    assert read_bytes(MediaRef("shard.tar", member="any", offset=offset, size=13), root) == b"second member"


def test_bad_tar_members_are_refused(root, tar):
    for ref, reason in [
        (MediaRef("shard.tar", member="0009.jpg"), "shard.tar:0009.jpg: no member"),
        (MediaRef("shard.tar", member="link.jpg"), "not a regular file"),
        (MediaRef("images/a.png", member="x"), "cannot be read"),
        (MediaRef("shard.tar", offset=10), "size of -1 bytes"),
        (MediaRef("shard.tar", offset=1 << 20, size=4), "4 bytes announced, 0 found"),
    ]:
        with pytest.raises(SkipSample, match=reason):
            read_bytes(ref, root)


def test_a_compressed_tar_is_refused(root):
    with tarfile.open(root / "shard.tar.gz", "w:gz") as archive:
        archive.add(root / "images" / "a.png", "a.png")
    with pytest.raises(SkipSample, match="cannot be read"):
        read_bytes(MediaRef("shard.tar.gz", member="a.png"), root)


def test_a_cut_tar_is_refused(root, tar):
    tar.write_bytes(tar.read_bytes()[:515])
    with pytest.raises(SkipSample, match="5 bytes announced, 3 found"):
        read_bytes(MediaRef("shard.tar", member="0001.jpg"), root)
