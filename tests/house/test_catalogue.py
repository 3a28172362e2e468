"""Folders are registries: whatever lies in one keeps the contract that its neighbours keep."""

from __future__ import annotations

import inspect
import json
import re
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from mm15.base import catalogue
from mm15.base.types import Category
from mm15.build._fetch import PACKAGES
from mm15.cli import app
from mm15.datasets._context import RowContext, read_options
from mm15.evals.benchmark import CATEGORIES, check_item, find, known, written
from mm15.quickstart import BUILDS

SHARED = {"canvas", "materials", "sets"}
"""Modules of ``build`` that are what builders are made of."""
APART = {"screens", "clips"}
"""Builders that need what the quickstart does not have: a browser, PyAV."""
SETS = catalogue.names("mm15.build.sets")
BUILDERS = [name for name in catalogue.names("mm15.build") if name not in SHARED]
FORMATS = catalogue.names("mm15.datasets")


def example_rows(docstring: str) -> list[dict[str, Any]]:
    """The JSON objects after 'Example rows:'."""
    rows, decoder = [], json.JSONDecoder()
    position = docstring.index("Example rows:")
    while (start := docstring.find("{", position)) >= 0:
        row, position = decoder.raw_decode(docstring, start)
        rows.append(row)
    return rows


@pytest.mark.parametrize("name", FORMATS)
def test_the_two_example_rows_of_a_format_become_samples(name: str):
    module = catalogue.lookup("mm15.datasets", name, "format")
    assert inspect.getdoc(module.to_samples)
    rows = example_rows(module.__doc__ or "")
    assert len(rows) == 2
    for row in rows:
        context = RowContext("set", Category.GENERAL, "set/0", "/data", read_options(module, {}))
        samples = module.to_samples(row, context)
        many = getattr(module, "MANY", False)
        keys = [f"set/0/{k}" for k in range(len(samples))] if many else ["set/0"]
        assert samples and [sample.key for sample in samples] == keys
        for sample in samples:
            assert (sample.source, sample.category) == ("set", Category.GENERAL)
            assert any(message.trained for message in sample.messages)
            assert all(image.media.path.startswith("/data/") for image in sample.images)
            assert not re.search(r"<image>|<\|image\|>|<bbox", "".join(message.text for message in sample.messages))


@pytest.mark.parametrize("name", known())
def test_a_benchmark_declares_itself_and_its_checks_hold(name: str):
    benchmark = find(name)
    assert benchmark.__doc__ and name == benchmark.NAME
    assert benchmark.CATEGORY in CATEGORIES and benchmark.FORMAT in FORMATS
    assert benchmark.FILE.endswith(".jsonl") and benchmark.MAX_NEW_TOKENS > 0
    assert isinstance(benchmark.COUNTS_IN_AVERAGE, bool)
    for answer, reference, wanted in benchmark.CHECKS:
        item = check_item(reference)
        scores = benchmark.score(answer, item)
        assert scores[benchmark.METRIC] == wanted, (answer, reference)
        assert all(0 <= value <= 1 for value in scores.values())
        assert benchmark.score(written(reference, item), item)[benchmark.METRIC] == 1.0, "the right answer is right"
        assert benchmark.score("", item)[benchmark.METRIC] == 0.0, "silence is wrong"
    assert {wanted for _, _, wanted in benchmark.CHECKS} >= {0.0, 1.0}


def test_every_category_has_a_benchmark_that_counts():
    counting = {find(name).CATEGORY for name in known() if find(name).COUNTS_IN_AVERAGE}
    assert counting == set(CATEGORIES)
    assert {name for name in known() if not find(name).COUNTS_IN_AVERAGE} == {"mini-refer-unseen", "mini-ground-unseen"}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_is_called_like_its_neighbours_and_has_a_place_in_the_quickstart(name: str):
    module = catalogue.lookup("mm15.build", name, "builder")
    assert module.__doc__ and inspect.getdoc(module.build)
    parameters = inspect.signature(module.build).parameters
    assert list(parameters)[:5] == ["out", "split", "n", "seed", "materials"]
    assert all(parameter.default is not parameter.empty for parameter in list(parameters.values())[5:])
    used = [part.build.func if isinstance(part.build, partial) else part.build for part in BUILDS]
    assert (module.build in used) == (name not in APART)


@pytest.mark.parametrize("name", SETS)
def test_a_builder_of_a_verb_declares_itself_and_is_told_to_users(name: str):
    module = catalogue.lookup("mm15.build.sets", name, "builder")
    assert module.__doc__ and inspect.getdoc(module.build)
    assert list(inspect.signature(module.build).parameters) == ["side"]
    assert module.FORMATS and all(f"``{form}``" in module.__doc__ for form in module.FORMATS)
    assert module.N > 0 and 64 <= module.SIZE <= 4096
    assert name in PACKAGES
    told = CliRunner().invoke(app, ["data", "build", "--help"]).output
    assert re.search(rf"\b{name}\b", told)
