"""What the benchmarks on Ferret-UI's elementary tasks share (arXiv 2404.05719): one file of Ferret rows per task.

The authors released the form of these files with samples, not the sets themselves; what is read here is that form,
which ``mm15 data build screens`` also writes: a stand-in, as no official files can be named. The task is the part of
the file name that Ferret-UI's own script looks for (``model_UI.py``): ``ocr, icon_recognition, widget_classification``
for referring, ``find_text, find_icon(s), find_widget, widget_listing`` for grounding. Files of other tasks are passed
over, rows are ``datasets.ferret_json``'s; the right answer is the answer turn, or a field ``label``. Pictures are
named from the benchmark's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mm15.base.errors import DataError, SkipSample
from mm15.base.types import Box, RegionPart, Role, Sample
from mm15.datasets import ferret_json
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, answer_boxes, prompt_text, score_boxes, single_questions, texts, written
from mm15.evals.scoring import contains, exact_match, listing_f1, named_boxes

REFER = {"ocr": "ocr", "icon_recognition": "icon recognition", "widget_classification": "widget classification"}
FIND = {"find_text": "find text", "find_icon": "find icon", "find_widget": "find widget"}
LISTING = {"widget_listing": "widget listing"}
"""Part of a file name → task."""
OTHERS = ("widgetcaptions", "taperception", "screen2words", "conversation", "detailed_description")
RELEASES = (Release(("*.json", "*.jsonl"), ("image", "conversations")),)
FERRET = ferret_json.Options(point_share=0, outside="clip", questions=True)


def read_tasks(files: Files, wanted: Mapping[str, str], needed: Sequence[str]) -> list[Item]:
    """The questions of the wanted tasks; items of a screen are a group.

    Raises:
        DataError: also where a task is missing that belongs to the reported mean, unless the files may be partial.
    """
    items = files.items(RELEASES, partial(_items, wanted))
    missing = [task for task in needed if task not in {item.task for item in items}]
    if missing and not files.partial:
        raise DataError(
            f"{files.benchmark}: {len(needed) - len(missing)} tasks where the official mean is over {len(needed)}; no "
            f"questions of {', '.join(missing)} in {files.folder}. Say --partial to go on without"
        )
    return items


def _items(wanted: Mapping[str, str], row: dict[str, Any], at: RowAt, release: Release) -> list[Item]:
    known = {**REFER, **FIND, **LISTING}
    name = next((part for part in known if part in at.file), "")
    if not name and not any(part in at.file for part in OTHERS):
        raise SkipSample(f"no task in the name of {at.file}; known: {', '.join(known)}")
    if name not in wanted:
        return []
    sample = ferret_json.to_samples(row, replace(at, options=FERRET))[0]
    if sample.messages[-1].role is Role.USER:
        return [_labelled(sample, row.get("label"), wanted[name], str(row["image"]))]
    return [_answered(alone, wanted[name], str(row["image"])) for alone in single_questions(sample)]


def _labelled(sample: Sample, label: object, task: str, group: str) -> Item:
    if task not in REFER.values():
        raise SkipSample("no answer turn with boxes")
    if not isinstance(label, str) or not label.strip():
        raise SkipSample(f"neither an answer turn nor a text in 'label', found {label!r}")
    return Item(sample, (label.strip(),), task, group)


def _answered(sample: Sample, task: str, group: str) -> Item:
    asked = replace(sample, messages=sample.messages[:-1])
    if task in REFER.values():
        said = sample.messages[-1].text.strip()
        if not said or any(isinstance(part, RegionPart) for part in sample.messages[-1].parts):
            raise SkipSample("the right answer must be text alone")
        return Item(asked, (said,), task, group)
    answer = prompt_text(replace(asked, messages=(*asked.messages, sample.messages[-1]))).removeprefix(
        f"{prompt_text(asked)}\n"
    )
    return Item(asked, answer_boxes(sample), task, group, {"answer": answer})


# ---- scores ----


def score_referring(answer: str, item: Item) -> dict[str, float]:
    """Equal to the right text, and containing it: many answers that are not equal hold the right words (MM1.5)."""
    return {"exact_match": exact_match(answer, texts(item)), "contains": contains(answer, texts(item))}


def score_grounding(answer: str, item: Item) -> dict[str, float]:
    """The first box; of a list of widgets ``listing_f1``, which is ours and stands beside the reported mean."""
    if item.task not in LISTING.values():
        return score_boxes(answer, item)
    found = named_boxes(answer, *item.size)
    right = named_boxes(item.facts["answer"], *item.size)
    return {"listing_f1": listing_f1(found, right), "unparseable": float(not found)}


def perfect_grounding(item: Item) -> str:
    """The first right box, or the whole list."""
    if item.task in LISTING.values():
        return str(item.facts["answer"])
    right = item.references[0]
    assert isinstance(right, Box)
    return written(right, item)
