"""Video-MME (arXiv 2405.21075), test split: choices about clips, short, medium and long, by accuracy.

Files: the parquet release (``duration, videoID, question_id, question, options, answer``) and ``data/<videoID>.mp4``.
Without subtitles, as MM1.5 reports it; ``--set videomme.subtitles=true`` puts all lines of ``subtitle/<videoID>.srt``
in front of the question. The instruction is Video-MME's own, hint and reading of the letter are lmms-eval's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mm15.base.config import Strict
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.benchmarks._options import LETTER_HINT, option_letter, score_option
from mm15.evals.benchmarks._pictures import bare_option
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question

NAME = "videomme"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
_RED = check_item("C", options=["A dog.", "A cat.", "A cow.", "A hen."])
CHECKS = [("C", _RED, 1.0), ("The best answer is: C.", _RED, 1.0), ("(A)", _RED, 0.0), ("E", _RED, 0.0)]
FOLDERS = ("data", "video", "videos", "")

RELEASES = (
    Release(
        ("videomme/test*.parquet", "test*.parquet", "data/test*.parquet"),
        ("duration", "videoID", "question_id", "question", "options", "answer"),
        2700,
    ),
)


class Options(Strict):
    """What a user may set."""

    subtitles: bool = False
    """All subtitles of the clip in front of the question."""


def read(files: Files) -> list[Item]:
    """The questions; the task is the clip's length: short, medium or long."""

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        front, about = "", "the video"
        if files.options.subtitles:
            front = f"This video's subtitles are listed below:\n{_subtitles(files.folder, row['videoID'])}\n"
            about = "the video and the subtitles"
        options = [bare_option(option) for option in row["options"]]
        asked = (
            f"\n{front}Select the best answer to the following multiple-choice question based on {about}. Respond with "
            f"only the letter (A, B, C, or D) of the correct option.\n{row['question']}\n"
            + "\n".join(row["options"])
            + f"\n{LETTER_HINT}"
        )
        parts = (find_clip(at, row["videoID"], FOLDERS), asked)
        right = option_letter(row["answer"], options)
        return question(NAME, row["question_id"], parts, right, row["duration"], row["videoID"], options=options)

    return files.items(RELEASES, item)


def _subtitles(folder: Path, name: str) -> str:
    """The lines of a clip's subtitle file, without numbers, times and marks of type."""
    file = folder / "subtitle" / f"{name}.srt"
    if not file.is_file():
        return "No subtitles available"
    lines = []
    for block in re.split(r"\n\s*\n", file.read_text(encoding="utf-8-sig").replace("\r\n", "\n")):
        said = [line for line in block.strip().split("\n") if line.strip()]
        if len(said) > 1 and " --> " in said[1]:
            lines.append(" ".join(re.sub(r"<[^>]*>", "", line).strip() for line in said[2:]))
    return "\n".join(line for line in lines if line)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as lmms-eval's ``mcq_extract`` finds it."""
    return score_option(answer, item, "priority")
