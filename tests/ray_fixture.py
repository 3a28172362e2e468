"""One Ray of two CPUs for all tests of a session: it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mm15.dist.map import Engine


@pytest.fixture(scope="session")
def ray() -> Iterator[Engine]:
    """Connected; skips where the extra is not installed."""
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    engine = Engine("ray", workers=2)
    with engine.connected():
        yield engine
