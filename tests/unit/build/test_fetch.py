"""Packages are fetched only when asked for, with their licence told first; a fake takes the place of apt and pip."""

import gzip
import subprocess
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mm15.base.errors import ConfigError, DataError
from mm15.build import _fetch
from mm15.build._fetch import PACKAGES, Package, cache_folder, download_package, fetch, unpack_gzip
from mm15.cli import app

TABLE = "town,people\n" + "".join(f"T{k},{10 * k + 5}\n" for k in range(8))


def test_the_licence_is_told_before_anything_is_fetched_and_the_cache_is_used(tmp_path):
    told: list[str] = []

    def download(package: Package, folder: Path) -> None:
        assert any(package.licence in line and package.name in line for line in told)
        (folder / "a.csv").write_text(TABLE)
        with gzip.open(folder / "b.txt.gz", "wt") as packed:
            packed.write("text")

    (folder,) = fetch("charts", told.append, tmp_path, download)
    assert folder == tmp_path / "pip-vega_datasets"
    assert (folder / "b.txt").read_text() == "text" and not (folder / "b.txt.gz").exists()
    assert fetch("charts", told.append, tmp_path, lambda *_: pytest.fail("fetched twice")) == [folder]
    assert "fetching it" in told[0] and "in the cache" in told[1]


def test_a_failed_fetch_leaves_no_folder(tmp_path):
    def download(package: Package, folder: Path) -> None:
        (folder / "half").write_text("")
        raise DataError("no network")

    with pytest.raises(DataError, match="no network"):
        fetch("charts", lambda _: None, tmp_path, download)
    assert list(tmp_path.iterdir()) == []


def test_every_builder_has_packages_with_a_licence():
    assert set(PACKAGES) == {"pdf", "charts", "scenes", "interleaved", "text", "screens", "clips"}
    for packages in PACKAGES.values():
        assert packages and all(package.licence and package.about and package.size > 0 for package in packages)
    with pytest.raises(ConfigError, match="nothing to fetch for 'quickstart'"):
        fetch("quickstart", print)


def test_the_verb_fetches_only_when_asked(tmp_path, monkeypatch):
    asked: list[str] = []

    def download(package: Package, folder: Path) -> None:
        asked.append(package.name)
        (folder / "towns.csv").write_text(TABLE)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_fetch, "download_package", download)
    assert cache_folder() == tmp_path / "cache" / "mm15" / "packages"
    plain = CliRunner().invoke(app, ["data", "build", "charts", "--out", str(tmp_path / "a"), "--n", "1"])
    assert plain.exit_code == 0 and asked == []
    done = CliRunner().invoke(app, ["data", "build", "charts", "--out", str(tmp_path / "b"), "--n", "1", "--fetch"])
    assert done.exit_code == 0, done.output
    assert asked == ["vega_datasets"] and "BSD-3-Clause" in done.stderr
    assert '"town"' in (tmp_path / "b" / "charts.jsonl").read_text()


def test_pip_and_apt_are_called_and_what_they_bring_is_unpacked(tmp_path, monkeypatch):
    commands: list[list[str]] = []

    def run(command, cwd, **_):
        commands.append(command)
        if "pip" in command:
            with zipfile.ZipFile(Path(cwd) / "p-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr("p/data.csv", TABLE)
        elif command[0] == "apt-get":
            (Path(cwd) / "p_1_all.deb").write_bytes(b"")
        else:
            (Path(command[3]) / "usr").mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    for kind in ("pip", "apt"):
        folder = tmp_path / kind
        folder.mkdir()
        download_package(Package("p", kind, "MIT", "a test", 1), folder)
        assert [path.name for path in folder.iterdir()] == [{"pip": "p", "apt": "usr"}[kind]]
    assert commands[0][1:4] == ["-m", "pip", "download"] and "--no-deps" in commands[0]
    assert commands[1] == ["apt-get", "download", "p"] and commands[2][:2] == ["dpkg-deb", "-x"]


def test_what_the_tool_says_is_told(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 100, "", "E: Unable to locate package p\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"apt-get download p failed:\nE: Unable to locate package p"):
        download_package(Package("p", "apt", "MIT", "a test", 1), tmp_path)

    def gone(*_, **__):
        raise FileNotFoundError("apt-get")

    monkeypatch.setattr(subprocess, "run", gone)
    (tmp_path / ".parcel").rmdir()
    with pytest.raises(DataError, match="'apt-get' is not on this machine"):
        download_package(Package("p", "apt", "MIT", "a test", 1), tmp_path)


def test_only_manuals_are_unpacked(tmp_path):
    for name in ("a.pdf.gz", "b.tar.gz"):
        with gzip.open(tmp_path / name, "wb") as packed:
            packed.write(b"data")
    unpack_gzip(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.tar.gz"]
