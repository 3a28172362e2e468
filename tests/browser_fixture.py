"""What tests with the marker ``browser`` need: Chromium. Without it they are skipped, except in CI, where they fail."""

from __future__ import annotations

import os

import pytest

from mm15.base.errors import ConfigError
from mm15.build._browser import find_browser


def skip_without_browser(items: list[pytest.Item]) -> None:
    """Mark what cannot run here; with CI set nothing is skipped, so that a missing browser is a failure."""
    marked = [item for item in items if item.get_closest_marker("browser")]
    if not marked or os.environ.get("CI"):
        return
    try:
        find_browser()
    except ConfigError as error:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=error.problems[0]))
