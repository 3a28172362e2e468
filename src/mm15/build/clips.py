"""Clips: real short films cut and composed, with questions about order, number, direction and change.

What is asked follows from how a clip was made: named drawings that move over photographs or over films, places joined
by hard cuts, a film that stops. Needs PyAV (extra ``video``). Two files tell of the same clips, in
``videos/<name>/``::

    clips.jsonl (llava)   {"id": "clips/7", "video": "videos/clips/000007.mp4", "conversations": [
                           {"from": "human", "value": "<video>\\nWhich way does the dog move?"},
                           {"from": "gpt", "value": "left"}], "task": "direction", "options": ["up", "left", ...],
                           "frames": 24, "fps": 8, "video_w": 128, "video_h": 96, "cuts": [],
                           "objects": [{"name": "dog", "boxes": [[0, 90, 30, 118, 60], ...]}]}
    clips-choice.csv (video-qa, nextqa-csv)   video,question,answer,qid,type,a0,a1,...

``objects`` gives every thing's box in every frame that shows it (frame, x1, y1, x2, y2), ``cuts`` the frames with which
another place begins. Held out are drawings, photographs and films; of your films one in ten, by the hash of its bytes.
"""

from __future__ import annotations

import csv
import io
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.rng import python_rng
from mm15.build._clip_tasks import TASKS, Made
from mm15.build._film import FPS, Film, open_films, write_clip
from mm15.build._sources import write_sources
from mm15.build.canvas import BuildReport, Save, build_rows
from mm15.build.materials import Materials, Split
from mm15.dist.map import ALL_CORES, Engine
from mm15.io.atomic import write_atomic
from mm15.io.jsonl import read_jsonl

FORMATS = ("llava", "nextqa")
SIZE = 144
OPTIONS = 5
"""Columns of NExT-QA's files; every clip offers as many answers."""
FILLERS = ("none of these", "it cannot be told")
COLUMNS = ("video", "question", "answer", "qid", "type", *(f"a{k}" for k in range(OPTIONS)))


@dataclass(frozen=True, slots=True)
class Job:
    """What makes row i; picklable, so that processes open the films themselves."""

    out: Path
    name: str
    split: Split
    seed: int
    materials: Materials
    films: tuple[Film, ...]
    size: int = SIZE


def build(
    out: Path,
    split: Split,
    n: int,
    seed: int,
    materials: Materials,
    input: Path | None = None,
    files: Sequence[Path] | None = None,
    formats: Sequence[str] = FORMATS,
    size: int = SIZE,
    name: str = "clips",
    engine: Engine = ALL_CORES,
) -> list[BuildReport]:
    """Write n clips and both files about them. Row i depends on (seed, split, name, i) and the films only.

    Args:
        input: a folder of your own films, used beside the shipped ones.
        files: films already chosen for this side, in place of all of ``input``.
        formats: what is written, of ``FORMATS``.
        size: longest side of a clip in pixels, at most.

    Raises:
        MissingExtra: PyAV is not installed.
        ConfigError: no such folder, or a file in it that is no film.
    """
    start = time.perf_counter()
    films = open_films(materials, split, input, files)
    (out / "videos" / name).mkdir(parents=True, exist_ok=True)
    job = Job(out, name, split, seed, materials, films, size)
    report = build_rows(out, name, n, partial(_row, job), engine)
    (out / "images" / name).rmdir()  # clips have no pictures of their own
    if not any((out / "images").iterdir()):
        (out / "images").rmdir()
    reports = [report]
    if "nextqa" in formats:
        text = io.StringIO()
        choices = [_choice(row) for _, row in read_jsonl(out / f"{name}.jsonl")]
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *choices])
        write_atomic(out / f"{name}-choice.csv", text.getvalue())
        reports.append(BuildReport(f"{name}-choice", n, time.perf_counter() - start))
    if "llava" not in formats:
        (out / f"{name}.jsonl").unlink()
        del reports[0]
    made = {report.name for report in reports}
    write_sources(out, [entry for entry in _sources(name) if entry["name"] in made])
    return reports


def make(job: Job, index: int) -> Made:
    """Clip ``index``: its frames, still undrawn, and what is asked. Tasks in turn, answers in turn within a task."""
    rng = python_rng(job.seed, "clips", job.split, job.name, index)
    turn, slot = divmod(index, len(TASKS))
    return list(TASKS.values())[slot](job.materials, job.split, job.films, turn, rng, job.size)


def _row(job: Job, index: int, save: Save) -> dict[str, Any]:
    made = make(job, index)
    video = _video(job.name, index)
    write_clip(job.out / video, made.clip.frames())
    return {
        "id": f"{job.name}/{index}",
        "video": video,
        "conversations": [
            {"from": "human", "value": f"<video>\n{made.question}"},
            {"from": "gpt", "value": made.answer},
        ],
        "task": made.task,
        "options": _options(made, python_rng(job.seed, "clips", job.split, job.name, index, "options")),
        "frames": len(made.clip),
        "fps": FPS,
        "video_w": made.clip.width,
        "video_h": made.clip.height,
        "cuts": made.clip.cuts,
        "objects": made.clip.objects(),
    }


def _options(made: Made, rng: random.Random) -> list[str]:
    """The answer among wrong ones, in a random order; where there are too few, ways of saying none of them."""
    others = [other for other in dict.fromkeys(made.others) if other != made.answer]
    count = min(len(others), OPTIONS - 1)
    options = [made.answer, *rng.sample(others, count), *FILLERS[: OPTIONS - 1 - count]]
    return rng.sample(options, OPTIONS)


def _choice(row: dict[str, Any]) -> Sequence[object]:
    question = row["conversations"][0]["value"].removeprefix("<video>\n")
    number = row["options"].index(row["conversations"][1]["value"])
    name = Path(row["video"]).stem
    return (name, question, number, row["id"], row["task"], *row["options"])


def _video(name: str, index: int) -> str:
    return f"videos/{name}/{index:06d}.mp4"


def _sources(name: str) -> list[dict[str, Any]]:
    choice = {"mode": "nextqa-csv", "videos": f"videos/{name}"}
    return [
        {"name": name, "path": f"{name}.jsonl", "format": "llava", "category": "video"},
        {"name": f"{name}-choice", "path": f"{name}-choice.csv", "format": "video-qa", "category": "video",
         "options": choice},
    ]  # fmt: skip
