"""Items from a file that a dataset format reads: for benchmarks that are built with our own builders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mm15.base import catalogue
from mm15.base.errors import DataError, SkipSample
from mm15.base.types import Category, Sample
from mm15.datasets._context import RowContext, read_options
from mm15.evals.files import Files
from mm15.evals.items import Item, Reference, single_questions
from mm15.io.jsonl import read_jsonl

References = Callable[[Sample], Sequence[Reference]]


def read_format(files: Files, file: str, format_name: str, references: References) -> list[Item]:
    """The questions of ``file`` in the data folder, in file order; a row with several answers gives one for each.

    Args:
        format_name: the ``datasets`` format of the rows.
        references: the right answers of a sample that ends with its answer.

    Raises:
        DataError: rows that cannot be used; all of them are named. A question without its answer cannot be scored.
    """
    format = catalogue.lookup("mm15.datasets", format_name, "dataset format")
    options = read_options(format, {})
    path = files.root / file
    items: list[Item] = []
    problems = []
    for line, row in read_jsonl(path):
        key = f"{files.benchmark}/{line}"
        # The category only tells captions apart from questions here; ``knowledge`` is no category of a sample.
        context = RowContext(files.benchmark, Category.GENERAL, key, root=str(files.root), options=options)
        try:
            for sample in format.to_samples(row, context):
                items += [_item(alone, references) for alone in single_questions(sample)]
        except SkipSample as error:
            problems.append(f"{path}:{line}: {error.reason}")
    if problems or not items:
        told = "\n".join(problems or ["the file is empty"])
        raise DataError(f"{files.benchmark}: unusable rows in {path}\n{told}")
    return items


def _item(answered: Sample, references: References) -> Item:
    task = str(answered.meta.get("task", answered.meta.get("task_name", "")))
    asked = replace(answered, messages=answered.messages[:-1])
    return Item(asked, tuple(references(answered)), task)
