"""``sources.yaml``: what a folder of built data sets holds, as the entries of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mm15.io.atomic import write_atomic

NAME = "sources.yaml"
HEAD = "# Sources of this folder; paths start from it. A recipe takes them with extends: or by copying.\n"


def read_sources(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``<folder>/sources.yaml``; none where there is no such file."""
    file = folder / NAME
    return yaml.safe_load(file.read_text(encoding="utf-8"))["sources"] if file.is_file() else []


def write_sources(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``<folder>/sources.yaml``: ``{sources: [...]}``, every entry the values of a ``SourceConfig``.

    Entries of other names that are there already are kept, so that several builders can share a folder.

    Returns:
        The file.
    """
    file = folder / NAME
    names = {entry["name"] for entry in entries}
    listed = [entry for entry in read_sources(folder) if entry["name"] not in names] + [
        dict(entry) for entry in entries
    ]
    write_atomic(file, HEAD + yaml.safe_dump({"sources": listed}, sort_keys=False, allow_unicode=True))
    return file
