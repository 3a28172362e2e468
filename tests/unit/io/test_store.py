"""Local copies of pictures by network address: every key, in folders and in tar shards."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from data_fixture import write_tar
from mm15.base.errors import ConfigError
from mm15.io import store as store_module
from mm15.io.media import read_bytes
from mm15.io.store import ImageStore

URL = "https://example.org/pictures/a%20dog.jpg?size=2#top"
OTHER = "http://example.org/b.png"


def digest(url: str, key: str) -> str:
    return hashlib.new(key, url.encode()).hexdigest()


@pytest.mark.parametrize("key", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize("layout", ["{0}.jpg", "{0}", "{1}/{0}.webp", "{1}/{2}/{0}.png"])
def test_a_folder_by_digest(tmp_path: Path, key: str, layout: str):
    name = digest(URL, key)
    path = tmp_path / layout.format(name, name[:2], name[2:4])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"dog")
    store = ImageStore(tmp_path, key)  # type: ignore[arg-type]
    ref = store.find(URL)
    assert ref is not None and ref.path == str(path) and read_bytes(ref) == b"dog"
    assert store.find(OTHER) is None
    assert pickle.loads(pickle.dumps(store)).find(URL) == ref


@pytest.mark.parametrize(("key", "file"), [("name", "a dog.jpg"), ("path", "example.org/pictures/a dog.jpg")])
def test_a_folder_by_name_and_by_path(tmp_path: Path, key: str, file: str):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"dog")
    (tmp_path / "secret.png").write_bytes(b"secret")
    inner = tmp_path / "example.org"
    store = ImageStore(tmp_path, key)  # type: ignore[arg-type]
    ref = store.find(URL)
    assert ref is not None and read_bytes(ref) == b"dog"
    assert store.find(OTHER) is None and store.find("https://example.org/") is None and store.find("") is None
    for hostile in (
        "https://x/..%2f..%2fsecret.png",
        "https://../secret.png",
        "https://x/%00",
        "http://[bad",
        "..",
        "/",
    ):
        assert ImageStore(inner if inner.is_dir() else tmp_path, key).find(hostile) is None  # type: ignore[arg-type]
    if key == "name":
        assert store.find("a dog.jpg") == ref


@pytest.mark.parametrize("key", ["sha256", "md5", "name", "path", "url-field"])
def test_tar_shards(tmp_path: Path, key: str):
    urls = [f"https://example.org/p{k}.jpg" for k in range(6)]
    shards = []
    for shard in range(2):
        members = []
        for k in range(3 * shard, 3 * shard + 3):
            names = {"name": f"p{k}", "path": f"example.org/p{k}", "url-field": f"{k:09d}"}
            name = names[key] if key in names else digest(urls[k], key)
            members += [(f"{name}.json", json.dumps({"url": urls[k]}).encode()), (f"{name}.jpg", b"picture %d" % k)]
        shards.append(write_tar(tmp_path / f"{shard}.tar", members))
    store = ImageStore(shards, key)  # type: ignore[arg-type]
    for k in (5, 0, 3):
        ref = store.find(urls[k])
        assert ref is not None and read_bytes(ref) == b"picture %d" % k
    assert store.find("https://example.org/p6.jpg") is None
    assert pickle.loads(pickle.dumps(store)).find(urls[4]) is not None and len(pickle.dumps(store)) < 500


def test_the_index_of_shards_is_made_once_and_follows_them(tmp_path: Path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", [("p1.jpg", b"one"), ("notes.txt", b"no picture")])
    assert ImageStore(path, "name").find("https://x/p1.jpg") is not None
    with monkeypatch.context() as patch:
        patch.setattr(ImageStore, "_scan", lambda *_: pytest.fail("read again"))
        assert ImageStore(path, "name").find("https://x/p1.jpg") is not None
        assert ImageStore(path, "name").find("https://x/notes.txt") is None
    write_tar(path, [("p2.jpg", b"two")])
    store = ImageStore(path, "name")
    assert store.find("https://x/p1.jpg") is None and store.find("https://x/p2.jpg") is not None


def test_two_names_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(store_module, "_hash", lambda name: 7)
    path = write_tar(tmp_path / "a.tar", [("p1.jpg", b"one"), ("p2.jpg", b"two")])
    store = ImageStore(path, "name")
    found = [store.find(f"https://x/p{k}.jpg") for k in (1, 2, 3)]
    assert [ref and read_bytes(ref) for ref in found] == [b"one", b"two", None]


def test_rows_that_cannot_be_used_are_no_pictures(tmp_path: Path):
    members = [("1.jpg", b"x"), ("1.json", b"broken"), ("2.jpg", b"y"), ("2.json", b"[3]"), ("3.jpg", b"z")]
    store = ImageStore(write_tar(tmp_path / "a.tar", [*members, ("bare", b"")]), "url-field")
    assert store.find("https://x/1.jpg") is None


def test_what_is_no_store_is_refused(tmp_path: Path):
    for place, key, reason in [
        (tmp_path / "none", "md5", "no such folder or tar file: .*none"),
        ([], "md5", "no tar shards given"),
        (tmp_path, "crc", "unknown key 'crc'; known: sha256"),
        (tmp_path, "url-field", "for a folder use another key"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            ImageStore(place, key)  # type: ignore[arg-type]
