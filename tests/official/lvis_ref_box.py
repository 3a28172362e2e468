"""LVIS-Ref by box."""

from __future__ import annotations

from official._lvis import ALWAYS, write

__all__ = ["ALWAYS", "write"]
