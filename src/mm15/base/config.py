"""Strict typed configs: YAML in, one frozen value out; ``extends:``, ``--set a.b=c``, all errors at once.

Every config is a pydantic model derived from ``Strict``. ``load`` reads a YAML file, follows ``extends:`` (a path
relative to the file, a bare name beside it or of a shipped recipe, or several of these), applies ``--set`` changes and
validates. What was wrong is reported together, each with its dotted path, the value found and, for an unknown key, the
nearest known one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mm15.base.catalogue import did_you_mean
from mm15.base.errors import ConfigError


class Strict(BaseModel):
    """Base of every config: frozen, unknown keys refused, no silent conversion of strings to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)


class Problems(ValueError):
    """Raised by a validator that found several problems inside its field, each a sentence that starts with its path."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


ConfigT = TypeVar("ConfigT", bound=Strict)


def load(schema: type[ConfigT], path: str | Path, changes: Iterable[str] = ()) -> ConfigT:
    """Read a YAML config.

    Args:
        schema: the config class.
        path: the YAML file.
        changes: ``a.b=value`` strings; values are parsed as YAML.

    Raises:
        ConfigError: with every problem found in the file.
    """
    return validate(schema, with_changes(read_yaml(Path(path)), changes), where=str(path))


def read_yaml(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping in a YAML file with its ``extends:`` chain merged in (the child wins)."""
    if not path.is_file():
        raise ConfigError([f"no such file: {path}"], str(path))
    if path.resolve() in _seen:
        raise ConfigError([f"extends: goes in a circle through {path}"], str(path))
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"not valid YAML: {error}"], str(path)) from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError([f"expected a mapping at the top, found {type(raw).__name__}"], str(path))
    named = raw.pop("extends", None)
    parents = named if isinstance(named, list) else [] if named is None else [named]
    result: dict[str, Any] = {}
    for parent in parents:
        result = merge(result, read_yaml(_parent(path, str(parent)), (*_seen, path.resolve())))
    return merge(result, raw)


def _parent(path: Path, named: str) -> Path:
    """The file that ``extends: named`` in ``path`` means."""
    name = named if named.endswith((".yaml", ".yml")) else f"{named}.yaml"
    beside = path.parent / name
    shipped = Path(str(resources.files("mm15"))) / "recipes"
    if beside.is_file():
        return beside
    if "/" not in name and (shipped / name).is_file():
        return shipped / name
    known = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    told = f"extends: no such file: {beside}"
    raise ConfigError([told if "/" in name else f"{told}, and no shipped recipe of this name: {known}"], str(path))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of mappings; anything else in ``over`` replaces."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def with_changes(raw: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` changes."""
    result = dict(raw)
    problems = []
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not path:
            problems.append(f"--set {change}: expected a.b=value")
            continue
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            problems.append(f"--set {change}: not valid YAML: {error}")
            continue
        for key in reversed(path.split(".")):
            value = {key: value}
        result = merge(result, value)
    if problems:
        raise ConfigError(problems, "--set")
    return result


def validate(schema: type[ConfigT], raw: Mapping[str, Any], where: str = "config") -> ConfigT:
    """Validate a mapping.

    Raises:
        ConfigError: every problem at once: dotted path, found value, nearest known name.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        told = [sentence for problem in error.errors() for sentence in _sentences(schema, problem)]
        raise ConfigError(told, where) from None


def _sentences(schema: type[BaseModel], problem: Any) -> list[str]:
    inner = problem.get("ctx", {}).get("error")
    if isinstance(inner, Problems):
        path = ".".join(str(part) for part in problem["loc"])
        return [f"{path}.{told}".replace(".(top)", "", 1) for told in inner.problems]
    return [_sentence(schema, problem)]


def _sentence(schema: type[BaseModel], problem: Any) -> str:
    location = tuple(problem["loc"])
    path = ".".join(str(part) for part in location) or "(top)"
    if problem["type"] == "extra_forbidden":
        known = _fields_at(schema, location[:-1])
        return f"{path}: unknown key{did_you_mean(str(location[-1]), known)}; known here: {', '.join(sorted(known))}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{path}: required, but not given"
    shown = repr(problem.get("input"))
    return f"{path}: {message} (found {shown if len(shown) <= 80 else shown[:77] + '...'})"


def _fields_at(schema: Any, location: tuple[Any, ...]) -> list[str]:
    """Names of the fields at a dotted place of a schema, as far as it can be followed."""
    candidates = [schema]
    for part in location:
        following = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel) and part in candidate.model_fields:
                following += _models_in(candidate.model_fields[part].annotation)
            elif isinstance(candidate, type) and issubclass(candidate, BaseModel):
                following.append(candidate)
        candidates = following or candidates
    return sorted({name for candidate in candidates for name in getattr(candidate, "model_fields", {})})


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def to_yaml(config: Strict) -> str:
    """The resolved config as YAML, every field written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(config: Strict) -> list[str]:
    """Sorted ``path: value`` lines: the golden text of a recipe."""
    lines: list[str] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict | list):
            for index, inner in enumerate(value):
                walk(f"{prefix}[{index}]", inner)
        else:
            lines.append(f"{prefix}: {json.dumps(value)}")

    walk("", config.model_dump(mode="json"))
    return sorted(lines)


def fingerprint(config: Strict) -> str:
    """Sixteen hex digits that change when any value of the config changes."""
    return hashlib.sha256("\n".join(flatten(config)).encode()).hexdigest()[:16]
