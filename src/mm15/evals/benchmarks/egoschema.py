"""EgoSchema (arXiv 2308.09126), public subset of 500: choices about three-minute clips, by accuracy.

Files: the parquet release (``Subset/``: ``question_idx, question, video_idx, option, answer``), or the authors'
``questions.json`` (``q_uid, question, option 0..4``) with ``subset_answers.json`` beside it; clips in ``videos/``. The
other 4,531 questions have no public answers and are not asked. Prompt as lmms-eval ``egoschema_subset``.
"""

from __future__ import annotations

import json
from typing import Any

from mm15.base.errors import DataError, SkipSample
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option, with_options
from mm15.evals.benchmarks._pictures import bare_option
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "egoschema"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "subset"
MAX_NEW_TOKENS = 16
ROWS = 500
_COOKS = check_item("E", options=["He reads.", "He sleeps.", "He walks.", "He runs.", "He cooks."])
CHECKS = [("E", _COOKS, 1.0), ("(E) He cooks.", _COOKS, 1.0), ("A", _COOKS, 0.0), ("F", _COOKS, 0.0)]
FOLDERS = ("videos", "good_clips_git", "")

RELEASES = (
    Release(
        ("Subset/test*.parquet", "test*.parquet"),
        ("question_idx", "question", "video_idx", "option", "answer"),
        ROWS,
    ),
    Release(("questions.json",), ("q_uid", "question", *(f"option {k}" for k in range(5))), 5031, name="authors"),
)


def read(files: Files) -> list[Item]:
    """The questions with public answers."""
    release, found = files.release(RELEASES)
    answers: dict[str, int] = {}
    if release.name == "authors":
        path = found[0].with_name("subset_answers.json")
        try:
            answers = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{NAME}: {path.name} belongs beside {found[0]} and cannot be read: {error}") from error
        if len(answers) != ROWS and not files.partial:
            raise DataError(f"{NAME}: {len(answers)} rows where the official {path.name} has {ROWS}; see --partial")

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item | list[Item]:
        if release.name == "authors":
            number = clip = row["q_uid"]
            options, right = [row[f"option {k}"] for k in range(5)], answers.get(number)
            if right is None:
                return []
        else:
            number, clip, right = row["question_idx"], row["video_idx"], row["answer"]
            options = [bare_option(option) for option in row["option"]]
            if right is None:
                raise SkipSample(f"question {number} has no public answer; take the folder Subset of the release")
        asked = f"\n{with_options(row['question'], options)}{LETTER_HINT}"
        parts = (find_clip(at, clip, FOLDERS), asked)
        return question(NAME, number, parts, option_letter(right, options), group=clip, options=options)

    return files.items(RELEASES, item)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as MMMU's parser reads it; an answer that names none is wrong, where lmms-eval draws one."""
    return score_option(answer, item, "mmmu")
