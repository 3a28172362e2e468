"""What a user names on the command line → sources: data files, a built folder with its ``sources.yaml``, or a recipe.

``sources.yaml`` lies beside data files that a builder wrote: a list of source entries as in a recipe (or a mapping with
``sources``), whose paths start from the folder it lies in.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from mm15.base.catalogue import did_you_mean, names
from mm15.base.config import Strict, merge, read_yaml, validate, with_changes
from mm15.base.errors import ConfigError
from mm15.base.types import Category
from mm15.data.source import FORMATS, Source, SourceConfig, open_sources
from mm15.datasets._registry import resolve

LISTED = "sources.yaml"
"""The name of the file that says how the data files beside it are read."""
_YAML = (".yaml", ".yml")


class _Sources(Strict):
    sources: list[SourceConfig] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Opened:
    """Sources, and the recipe that named them as plain values (empty where none did), with the folder it reads from."""

    sources: list[Source]
    recipe: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()


def sources_of(
    path: str | Path, format: str = "", category: str = "", data: str | Path = "", changes: Sequence[str] = ()
) -> list[Source]:
    """The sources that a path or name stands for; see ``open_path``."""
    return open_path(path, format, category, data, changes).sources


def open_path(
    path: str | Path, format: str = "", category: str = "", data: str | Path = "", changes: Sequence[str] = ()
) -> Opened:
    """The sources that a path or name stands for.

    Args:
        path: a ``sources.yaml`` or the folder it lies in; a recipe file or the name of a shipped recipe; or data: a
            file, a folder or a pattern, as a source's ``path``.
        format: of data: a format, or a name from ``mm15 data list``, which brings its options and category along.
        category: of data.
        data: folder that a recipe's paths start from.
        changes: ``a.b=value`` strings: of data they change the source (``root=pictures``, ``options.question=...``),
            of a recipe the recipe.

    Raises:
        ConfigError: nothing there, or everything that is wrong with what is.
    """
    text, path = str(path), Path(path)
    if path.is_dir() and (path / LISTED).is_file():
        path = path / LISTED
    if path.suffix in _YAML or not (path.exists() or glob.has_magic(text)):
        told = [f"--{name} belongs to data files; {path} says it itself" for name, given in
                (("format", format), ("category", category)) if given and path.suffix in _YAML]  # fmt: skip
        if told:
            raise ConfigError(told, text)
        return _open_yaml(_recipe_file(path), Path(data), changes)
    return Opened([_open_data(path, format, category, changes)], folder=path if path.is_dir() else path.parent)


def shipped_recipes() -> dict[str, Path]:
    """Name → file of the recipes in the package."""
    folder = Path(str(resources.files("mm15"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _recipe_file(path: Path) -> Path:
    if path.suffix:
        if not path.is_file():
            raise ConfigError([f"no such file: {path}"], str(path))
        return path
    shipped = shipped_recipes()
    if str(path) not in shipped:
        hint = did_you_mean(str(path), shipped)
        told = f"no such file or folder, and no recipe of this name{hint}; shipped recipes: {', '.join(shipped)}"
        raise ConfigError([told], str(path))
    return shipped[str(path)]


def _open_yaml(file: Path, data: Path, changes: Sequence[str]) -> Opened:
    if file.name == LISTED:
        values, folder = with_changes(_listed(file), changes), file.parent
        return Opened(open_sources(validate(_Sources, values, str(file)).sources, folder), folder=folder)
    values = with_changes(read_yaml(file), changes)
    if "sources" not in values:
        raise ConfigError([f"neither a recipe nor a list of sources: it has no 'sources' ({LISTED} holds a list)"],
                          str(file))  # fmt: skip
    sources = validate(_Sources, {"sources": values["sources"]}, str(file)).sources
    return Opened(open_sources(sources, data), values, data)


def _listed(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError([f"not valid YAML: {error}"], str(file)) from error
    if isinstance(found, Mapping):
        return dict(found)
    return {"sources": found}


def _open_data(path: Path, format: str, category: str, changes: Sequence[str]) -> Source:
    """One source of data files, told about on the command line alone."""
    formats, values = names(FORMATS), {}
    if format and format.replace("_", "-") not in formats:
        try:
            values = {"dataset": resolve(format).name}
        except ConfigError as error:
            hint = did_you_mean(format, formats)
            problem = f"--format {format}: neither a format{hint} ({', '.join(formats)}) nor a data set: "
            raise ConfigError([problem + error.problems[0]], str(path)) from None
    elif format:
        values = {"format": format}
    problems = []
    if not values:
        built = sorted(str(found.parent) for found in path.glob(f"*/{LISTED}")) if path.is_dir() else []
        problems.append(
            f"there is a {LISTED} in {' and in '.join(built)}: name one of them"
            if built
            else f"give --format: one of {', '.join(formats)}, or a name from `mm15 data list`"
        )
    if not category and "dataset" not in values and not (problems and "name one" in problems[0]):
        problems.append(f"give --category: one of {', '.join(Category)}")
    if problems:
        raise ConfigError(problems, str(path))
    name = path.name if glob.has_magic(path.name) or path.is_dir() else path.name.partition(".")[0]
    values |= {"category": category} if category else {}
    given = merge({"name": name or path.resolve().name, "path": str(path), **values}, with_changes({}, changes))
    return Source(validate(SourceConfig, given, str(path)))


def named(sources: Sequence[Source], wanted: Sequence[str]) -> list[Source]:
    """The sources of these names, all where none is named. Raises ``ConfigError`` for every unknown name."""
    known = [source.name for source in sources]
    told = [f"no source '{name}'{did_you_mean(name, known)}; here: {', '.join(known)}"
            for name in wanted if name not in known]  # fmt: skip
    if told:
        raise ConfigError(told, "--source")
    return [source for source in sources if not wanted or source.name in wanted]
