"""MVBench (arXiv 2311.17005): choices on 20 tasks about clips, by the mean accuracy of the tasks.

Files: the authors' ``json/<task>.json`` (``video, question, candidates, answer``, some with ``start`` and ``end`` in
seconds) beside ``video/``, or the branch "video" of the same repository, whose clips are cut already. Some clips are
folders of frames. Prompt and reading of the letter as lmms-eval ``mvbench``; an empty answer is a wrong one and counts,
where lmms-eval leaves it out. Over all questions the accuracy is ``micro_accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import VideoPart
from mm15.datasets._clips import NoClip
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.benchmarks._options import LETTERS, score_option
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question
from mm15.evals.table import Table, Values

NAME = "mvbench"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 16
_DOOR = check_item("B", options=["the window", "the door"])
CHECKS = [
    ("(B) the door", _DOOR, 1.0),
    ("B", _DOOR, 1.0),
    ("A. the window", _DOOR, 0.0),
    ("the door", _DOOR, 0.0),
    ("Best option: (B", _DOOR, 1.0),
]
FOLDERS = {
    "action_antonym": ("ssv2_video", "ssv2_video_mp4"),
    "action_count": ("perception/videos",),
    "action_localization": ("sta/sta_video", "sta/sta_video_segment"),
    "action_prediction": ("star/Charades_v1_480", "star/Charades_segment"),
    "action_sequence": ("star/Charades_v1_480", "star/Charades_segment"),
    "character_order": ("perception/videos",),
    "counterfactual_inference": ("clevrer/video_validation",),
    "egocentric_navigation": ("vlnqa",),
    "episodic_reasoning": ("tvqa/frames_fps3_hq", "tvqa/video_fps3_hq_segment"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos",),
    "fine_grained_pose": ("nturgbd", "nturgbd_convert"),
    "moving_attribute": ("clevrer/video_validation",),
    "moving_count": ("clevrer/video_validation",),
    "moving_direction": ("clevrer/video_validation",),
    "object_existence": ("clevrer/video_validation",),
    "object_interaction": ("star/Charades_v1_480", "star/Charades_segment"),
    "object_shuffle": ("perception/videos",),
    "scene_transition": ("scene_qa/video",),
    "state_change": ("perception/videos",),
    "unexpected_action": ("FunQA_test/test",),
}
"""Task → where its clips lie; a folder called ``.._segment`` holds them cut to their bounds."""
FOLDER_FPS = 3.0
"""Frames a second of the clips that are folders of frames (the authors' ``mvbench.ipynb``, ``read_frame``)."""
PARENTS = ("video", "video/data0613", "", "data0613")

RELEASES = (Release(("json/*.json", "*.json"), ("video", "question", "candidates", "answer"), 4000),)


def read(files: Files) -> list[Item]:
    """The questions of all 20 tasks."""
    return files.items(RELEASES, _item)


def _item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    task = at.file.removesuffix(".json")
    if task not in FOLDERS:
        raise SkipSample(f"{at.file} is none of the 20 tasks: {', '.join(FOLDERS)}")
    options, right = row["candidates"], row["answer"]
    if right not in options:
        raise SkipSample(f"the right answer {right!r} is none of the candidates {options}")
    lines = "".join(f"({letter}) {option}\n" for letter, option in zip(LETTERS, options, strict=False))
    asked = f"\nQuestion:{row['question']}\nOption:\n{lines}Only give the best option.\n"
    letter = LETTERS[options.index(right)]
    return question(NAME, at.number, (_clip(row, at, task), asked), letter, task, row["video"], options=options)


def _clip(row: dict[str, Any], at: RowAt, task: str) -> VideoPart:
    whole = [folder for folder in FOLDERS[task] if not folder.endswith("_segment")]
    cut = [folder for folder in FOLDERS[task] if folder.endswith("_segment")]
    try:
        found = find_clip(at, row["video"], _below(whole), row.get("start"), row.get("end"))
        return replace(found, fps=FOLDER_FPS) if Path(found.media.path).is_dir() else found
    except NoClip as error:
        try:
            return find_clip(at, row["video"], _below(cut))
        except NoClip:
            raise error from None


def _below(folders: list[str]) -> list[str]:
    return [f"{parent}/{folder}" if parent else folder for parent in PARENTS for folder in folders]


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter as lmms-eval's ``mcq_acc`` reads it."""
    return score_option(answer, item, "interleave")


def combine(table: Table) -> Mapping[str, Values]:
    """The mean over tasks, and over all questions."""
    return {"accuracy": 100 * table.mean_of_tasks("accuracy"), "micro_accuracy": 100 * table.mean("accuracy")}
