"""Referring tasks of Ferret-UI."""

from __future__ import annotations

from official._ferret_ui import REFER_ALWAYS as ALWAYS
from official._ferret_ui import write_refer as write

__all__ = ["ALWAYS", "write"]
