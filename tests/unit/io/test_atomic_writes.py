"""A failure at any point leaves what was there before, and no litter."""

import os
import stat

import pytest

from mm15.io.atomic import atomic_folder, open_atomic, write_atomic


class DiskFull(OSError):
    pass


def fail(*_, **__):
    raise DiskFull("no space left")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written(tmp_path):
    write_atomic(tmp_path / "new" / "a.txt", "Straße\n")
    write_atomic(str(tmp_path / "new" / "b.bin"), b"\0\1")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "Straße\n".encode()
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\0\1"
    assert names(tmp_path / "new") == ["a.txt", "b.bin"]


def test_the_usual_permissions_apply(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomic(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_old_file_survives_a_failed_write(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(DiskFull):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_old_file_survives_an_error_in_the_block(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), open_atomic(path) as file:
        file.write(b"half")
        raise KeyError("stop")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "bundle"
    with atomic_folder(path) as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "x").write_text("1")
        assert not path.exists()
    assert (path / "sub" / "x").read_text() == "1"
    assert names(tmp_path / "deep") == ["bundle"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "bundle"
    for name in ("old", "new"):
        with atomic_folder(path) as draft:
            (draft / name).write_text(name)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["bundle"]


def test_an_old_folder_survives_an_error_in_the_block(tmp_path):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(KeyError), atomic_folder(path) as draft:
        (draft / "new").write_text("half")
        raise KeyError("stop")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("failing_call", [1, 2])
def test_an_old_folder_survives_a_failed_rename(tmp_path, monkeypatch, failing_call):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    replace, calls = os.replace, []

    def replace_or_fail(source, target):
        calls.append(source)
        (fail if len(calls) == failing_call else replace)(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    with pytest.raises(DiskFull), atomic_folder(path) as draft:
        (draft / "new").write_text("new")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["bundle"]


def test_a_file_that_cannot_be_synced_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFull), atomic_folder(tmp_path / "bundle") as draft:
        (draft / "new").write_text("new")
    assert names(tmp_path) == []


def test_a_folder_does_not_replace_a_file(tmp_path):
    (tmp_path / "bundle").write_text("a file")
    with pytest.raises(NotADirectoryError, match="bundle is a file"), atomic_folder(tmp_path / "bundle"):
        pass
    assert (tmp_path / "bundle").read_text() == "a file"
