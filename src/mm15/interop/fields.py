"""Reading another project's config.json: every value is asked for by name, every problem is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm15.base.errors import ConfigError

MISSING = object()


class Fields:
    """The values of a config, and what is wrong with them. ``close`` raises it all at once."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw, self.where = raw, where
        self.problems: list[str] = []

    def integer(self, name: str, default: Any = MISSING) -> int:
        """A positive whole number."""
        value = self._value(name, default)
        if isinstance(value, list) and len(set(value)) == 1:  # image_size: [336, 336]
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            if value is not MISSING:
                self.problems.append(f"{name}: expected a whole number above 0, found {value!r}")
            return 1
        return value

    def number(self, name: str, default: Any = MISSING) -> float:
        """A positive number."""
        value = self._value(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            if value is not MISSING:
                self.problems.append(f"{name}: expected a number above 0, found {value!r}")
            return 1.0
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false; null means the default."""
        value = self.raw.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problems.append(f"{name}: expected true or false, found {value!r}")
            return default
        return value

    def choice(self, name: str, known: Mapping[str, Any], default: str | None = None) -> Any:
        """What a word means; an unknown one is a problem that lists the known ones."""
        value = self.raw.get(name)
        value = default if value is None else value
        if value not in known:
            shown = "missing" if value is None else repr(value)
            self.problems.append(f"{name}: {shown} is not supported; supported: {', '.join(known)}")
            return next(iter(known.values()))
        return known[value]

    def refuse(self, name: str, allowed: tuple[Any, ...], why: str) -> None:
        """See that a value is absent or harmless."""
        value = self.raw.get(name)
        if value is not None and value not in allowed:
            self.problems.append(f"{name}: {value!r} is not supported: {why}")

    def close(self) -> None:
        """Raise ``ConfigError`` if anything was wrong."""
        if self.problems:
            raise ConfigError(self.problems, self.where)

    def _value(self, name: str, default: Any) -> Any:
        value = self.raw.get(name)
        if value is not None:
            return value
        if default is MISSING:
            self.problems.append(f"{name}: missing")
        return default


def refuse_quantised(fields: Fields) -> None:
    """Quantised checkpoints hold other tensors than the family's."""
    if fields.raw.get("quantization_config"):
        fields.problems.append("quantization_config: quantised weights are not read; take the original ones")


def inexact(family: str, problems: list[str]) -> None:
    """Refuse to write a config that the family cannot express.

    Raises:
        ConfigError: any problem is there.
    """
    if problems:
        raise ConfigError(problems, f"{family} cannot express this model")
