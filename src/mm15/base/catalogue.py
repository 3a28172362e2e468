"""name → module in a folder. The folder is the registry: no decorators, no import side effects."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from mm15.base.errors import ConfigError


def names(package: str) -> list[str]:
    """Names of the modules in a package, dashes for underscores, sorted. Nothing is imported but the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"{package} is not a package")
    found = (module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def lookup(package: str, name: str, kind: str) -> ModuleType:
    """The module called ``name`` in ``package``.

    Raises:
        ConfigError: there is none; the message lists what exists and the nearest name.
    """
    known = names(package)
    dashed = name.replace("_", "-")
    if dashed not in known:
        raise ConfigError([f"unknown {kind} '{name}'{did_you_mean(dashed, known)}; known: {', '.join(known)}"], kind)
    return importlib.import_module(f"{package}.{dashed.replace('-', '_')}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean …?)' or the empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
