"""The mini suite: the questions that miniatures are measured with, the same for everybody.

Built from held-out material that is shipped (nothing of the user's), with a seed of its own, so that runs of other
seeds, data and machines answer the same questions. ``evals.fixed`` holds what it must come out as.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mm15.base.errors import ConfigError
from mm15.build import charts, frames, in_context, math_items, pages, pairs, scenes, science, words
from mm15.build._sources import write_sources
from mm15.build.canvas import Build, BuildReport
from mm15.build.materials import Materials
from mm15.io.atomic import atomic_folder

SEED = 15
"""Of the suite. It has nothing to do with the seed of a run."""


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a builder: rows of each file it writes, and how these are listed in ``sources.yaml``."""

    build: Build
    rows: int
    category: str
    format: str = "llava"


PARTS = (
    Part(partial(scenes.build, kind="general", name="general"), 320, "general"),
    Part(words.build, 250, "text_rich"),
    Part(pages.build, 150, "text_rich"),
    Part(charts.build, 150, "text_rich"),
    Part(science.build, 240, "science"),
    Part(math_items.build, 240, "math"),
    Part(partial(scenes.build, kind="refer", name="refer"), 240, "refer_ground", "ferret-json"),
    Part(partial(scenes.build, kind="ground", name="ground"), 240, "refer_ground", "ferret-json"),
    Part(partial(scenes.build, kind="refer_unseen", name="refer_unseen"), 120, "refer_ground", "ferret-json"),
    Part(partial(scenes.build, kind="ground_unseen", name="ground_unseen"), 120, "refer_ground", "ferret-json"),
    Part(pairs.build, 320, "multi_image"),
    Part(in_context.build, 240, "multi_image"),
    Part(partial(in_context.build, shots=0, name="in_context_control"), 120, "multi_image"),
    Part(partial(frames.build, name="video"), 240, "video"),
)
"""What the suite is made of. To change a number makes another suite: keep ``evals/mini_suite.json`` anew and say so."""


def build_suite(out: Path, workers: int = 2, rows: int = 0) -> list[BuildReport]:
    """Write the suite into a new folder: one JSON-lines file per benchmark, pictures, ``sources.yaml``.

    Args:
        workers: processes; what they write does not depend on them.
        rows: of every file, for a quick look; 0: the whole suite.

    Raises:
        MissingExtra: pypdfium2 (extra ``pdf``) is not installed.
        ConfigError: ``out`` is there already and not empty.
    """
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError([f"{out} is not empty; give a new folder"], "--out")
    materials = Materials()
    reports: list[BuildReport] = []
    with atomic_folder(out, durable=False) as draft:
        for part in PARTS:
            made = part.build(draft, "heldout", rows or part.rows, SEED, materials, workers=workers)
            for report in made if isinstance(made, list) else [made]:
                reports.append(report)
                entry = {"name": report.name, "path": f"{report.name}.jsonl", "format": part.format}
                write_sources(draft, [{**entry, "category": part.category}])
    return reports
