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
from mm15.build._mini_suite import PARTS
from mm15.cli import app
from mm15.datasets._context import RowContext, read_options
from mm15.evals.benchmark import CATEGORIES, SUITES, find, known
from mm15.evals.categories import SUITE_RULES
from mm15.evals.items import Item, check_item
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
    assert len(benchmark.about) > 20 and name == benchmark.name
    assert benchmark.category in CATEGORIES and benchmark.suite in SUITES and benchmark.split
    assert benchmark.max_new_tokens > 0
    if benchmark.judge_prompts:
        return
    for answer, right, wanted in benchmark.checks:
        item = right if isinstance(right, Item) else check_item(right)
        scores = benchmark.score_all([answer], [item])[0]
        assert benchmark.item_value(scores) == pytest.approx(wanted), (answer, right)
        assert benchmark.item_value(benchmark.score_all([benchmark.perfect(item)], [item])[0]) == 1.0, "right is right"
        assert benchmark.item_value(benchmark.score_all([""], [item])[0]) == 0.0, "silence is wrong"
    assert {wanted for _, _, wanted in benchmark.checks} >= {0.0, 1.0}


def test_category_rules_name_benchmarks_of_their_suite():
    for suite, categories in SUITE_RULES.items():
        for category, readings in categories.items():
            for rule in readings.values():
                for member in rule.members:
                    for name in [member] if isinstance(member, str) else member:
                        assert (find(name).suite, find(name).category) == (suite, category)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_is_called_like_its_neighbours_and_has_a_place_in_the_quickstart(name: str):
    module = catalogue.lookup("mm15.build", name, "builder")
    assert module.__doc__ and inspect.getdoc(module.build)
    parameters = inspect.signature(module.build).parameters
    assert list(parameters)[:5] == ["out", "split", "n", "seed", "materials"]
    assert all(parameter.default is not parameter.empty for parameter in list(parameters.values())[5:])
    used = [part.build.func if isinstance(part.build, partial) else part.build for part in (*BUILDS, *PARTS)]
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
