"""Grounding tasks of Ferret-UI."""

from __future__ import annotations

from official._ferret_ui import GROUND_ALWAYS as ALWAYS
from official._ferret_ui import write_ground as write

__all__ = ["ALWAYS", "write"]
