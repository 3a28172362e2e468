"""The allocator setting is made where it exists, and training does not depend on it."""

from __future__ import annotations

import ctypes
import sys

import pytest

from mm15.base import memory


def test_it_is_set_on_linux_with_glibc_and_can_be_set_again():
    glibc = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    assert memory.keep_freed_memory() == memory.keep_freed_memory() == glibc


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # musl: no mallopt
    assert not memory.keep_freed_memory()
