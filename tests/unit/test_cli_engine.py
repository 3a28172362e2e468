"""Every verb that goes over many rows takes the same three flags, and refuses the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from data_fixture import write_rows
from mm15.base.errors import ConfigError
from mm15.cli import app

ROWS = ("--format", "text", "--category", "text_only")
VERBS = {
    "build": ("text", "--out", "new"),
    "check": ("rows.jsonl", *ROWS),
    "convert": ("rows.jsonl", *ROWS, "--out", "new"),
    "decontaminate": ("rows.jsonl", *ROWS, "--against", "rows.jsonl"),
    "recaption": ("bundle", "--images", "pictures", "--out", "new"),
    "stats": ("rows.jsonl", *ROWS),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_flags_of_the_engine(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_rows(Path("rows.jsonl"), [{"text": "one"}])
    for folder in ("bundle", "pictures"):
        Path(folder).mkdir()
    Path("bundle/bundle.json").write_text("{}")
    Image.new("RGB", (4, 3)).save("pictures/a.png")
    for flags, problem in (
        (("--engine", "rays"), "unknown engine 'rays'; known: pool, ray"),
        (("--address", "head:6379"), "an address (head:6379) is for engine 'ray'"),
    ):
        done = CliRunner().invoke(app, ["data", verb, *VERBS[verb], *flags])
        assert isinstance(done.exception, ConfigError) and problem in str(done.exception), done.output
    done = CliRunner().invoke(app, ["data", verb, *VERBS[verb], "--workers", "-1"])
    assert done.exit_code == 2 and "--workers" in done.output
    assert not Path("new").exists()
