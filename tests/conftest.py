"""One torch thread: small operations are quicker without barriers, and the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from browser_fixture import skip_without_browser
from ray_fixture import ray  # noqa: F401  (a fixture)
from stage_fixture import build_small_data

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows of ``stage_fixture``; not to be changed."""
    return build_small_data(tmp_path_factory.mktemp("small-data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_without_browser(items)
