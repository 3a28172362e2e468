"""Rows of NExT-QA's columns, which IntentQA has too: a clip, a question, five options, the number of the right one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mm15.base.errors import DataError
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, with_options
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question

OPTIONS = ("a0", "a1", "a2", "a3", "a4")
COLUMNS = ("question", "answer", "qid", "type", *OPTIONS)
FOLDERS = ("videos", "NExTVideo", "Videos", "")
MAP = "map_vid_vidorID.json"
"""Beside the rows: number of a clip → folder and file of it, where the clips lie as VidOR has them."""


def read_choices(files: Files, releases: tuple[Release, ...], clip: str) -> list[Item]:
    """The questions; the task is the type (CW, CH, TN, TC, TP, DC, DL, DO).

    The hint for the letter is lmms-eval's for EgoSchema; its NExT-QA has none.

    Args:
        clip: the column that names the clip.
    """
    _, (path, *_) = files.release(releases)
    places = path.with_name(MAP)
    mapped: Mapping[str, str] = {}
    if places.is_file():
        try:
            mapped = json.loads(places.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{files.benchmark}: {places} is not valid JSON: {error}") from error

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        name = str(row[clip])
        options = [str(row[column]).strip() for column in OPTIONS]
        asked = f"\n{with_options(str(row['question']).strip(), options)}{LETTER_HINT}"
        parts = (find_clip(at, mapped.get(name, name), FOLDERS), asked)
        right = option_letter(row["answer"], options)
        # A question's number counts within its clip; rows of a clip can repeat it in IntentQA, so the row's stands.
        return question(files.benchmark, at.number, parts, right, str(row["type"]), name, options=options)

    return files.items(releases, item)
