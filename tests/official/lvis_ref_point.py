"""LVIS-Ref by point."""

from __future__ import annotations

from official._lvis import ALWAYS, write

__all__ = ["ALWAYS", "write"]
