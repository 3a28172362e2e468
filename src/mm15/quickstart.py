"""The main job: build data, run the stages, evaluate, write the page, say what to do next.

Everything happens in one run folder; whatever is finished there is not done again, so an interrupted quickstart goes on
where it stopped when the same command is given again.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import resource
import shutil
import string
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mm15.base.config import fingerprint, load
from mm15.base.errors import ConfigError, Interrupted
from mm15.build import charts, code, interleaved, math_items, pages, pairs, scenes, science, text_only, words
from mm15.build._items import Form
from mm15.build._mini_suite import build_suite
from mm15.build.canvas import Build
from mm15.build.materials import Materials
from mm15.bundle import Bundle, load_bundle
from mm15.evals.report import StageSummary, pick_examples, write_report
from mm15.evals.request import Request
from mm15.evals.results import EvalReport, results_json
from mm15.evals.run import evaluate
from mm15.io.atomic import atomic_folder, write_atomic
from mm15.io.jsonl import read_jsonl
from mm15.model.multimodal import MultimodalModel
from mm15.stage import StageResult, resume_stage, start_stage
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import Tokenizer, train_tokenizer
from mm15.train.recipe import Recipe

STAGES = ("encoder", "pretrain", "continual", "sft")
TINY = ("train.steps=12", "train.log_every=4", "train.save_every=6")
COMMON = 100
"""A word that questions and captions use so often becomes one token."""
TINY_ROWS = 30
"""Rows per file and questions per benchmark of ``--tiny``: a walk through the code that learns nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a builder, and its rows."""

    build: Build
    train: int


BUILDS = (
    Part(partial(scenes.build, kind="caption"), 5000),
    Part(partial(scenes.build, kind="located"), 5000),
    Part(partial(scenes.build, kind="general", turns=8), 8000),
    Part(partial(scenes.build, kind="refer_ground", turns=3), 9000),
    Part(interleaved.build, 1500),
    Part(text_only.build, 2500),
    Part(partial(words.build, form=Form.OCR, page_share=0.0), 6000),
    Part(partial(words.build, form=Form.OCR, page_share=1.0, name="page-words"), 4000),
    Part(partial(pages.build, form=Form.OCR), 2000),
    Part(words.build, 5000),
    Part(pages.build, 2000),
    Part(charts.build, 1500),
    Part(math_items.build, 2000),
    Part(code.build, 1000),
    Part(science.build, 1500),
    Part(pairs.build, 5000),
)
"""What the quickstart trains on, and how much. What it is measured with is the mini suite, whatever its seed."""


def build_data(out: Path, seed: int = 0, pdfs: Path | None = None, tiny: bool = False) -> list[dict[str, Any]]:
    """Write ``train/`` with its tokenizer, and ``heldout/``, the mini suite; a folder that is complete is kept.

    Raises:
        ConfigError: the folder was built from another seed, other PDFs or another amount.
    """
    asked = {"seed": seed, "pdfs": str(pdfs.resolve()) if pdfs else None, "tiny": tiny}
    done = out / "build.json"
    if done.is_file():
        kept = json.loads(done.read_text(encoding="utf-8"))
        if kept["asked"] != asked:
            raise ConfigError(
                [f"{out} was built with {kept['asked']}, now {asked} is asked; give another folder"], "data"
            )
        return kept["reports"]
    materials = Materials(pdfs=pdfs)
    reports: list[dict[str, Any]] = []
    with atomic_folder(out, durable=False) as draft:
        (draft / "train").mkdir()
        for part in BUILDS:
            made = part.build(draft / "train", "train", TINY_ROWS if tiny else part.train, seed, materials)
            for report in made if isinstance(made, list) else [made]:
                reports.append({"split": "train", **asdict(report)})
        for report in build_suite(draft / "heldout", rows=TINY_ROWS if tiny else 0):
            reports.append({"split": "heldout", **asdict(report)})
        small_tokenizer(draft / "train").save(draft / "train" / "tokenizer.json")
        write_atomic(draft / "build.json", json.dumps({"asked": asked, "reports": reports}, indent=1))
    return reports


def small_tokenizer(folder: Path) -> Tokenizer:
    """The miniature's tokenizer, from its training data: characters, because it learns to spell what it reads; whole
    words where they are common in questions, captions and answers; one token for each sub-image index of a small
    picture."""
    counts: Counter[str] = Counter()
    for file in sorted(folder.glob("*.jsonl")):
        for _, row in read_jsonl(file):
            for turn in row.get("conversations", ()):
                if turn["from"] == "human" or row["task"] == "caption":
                    counts.update(re.findall(r" [a-z]+|\b[A-Z][a-z]+", turn["value"]))
                else:
                    counts.update(re.findall(r"^[a-z]+\b|(?<=, )[a-z]+\b| [a-z]+\b", turn["value"]))
    words = sorted(word for word, count in counts.items() if count >= COMMON)
    places = [(0, 0)] + [(row, col) for row in range(1, 10) for col in range(1, 10) if row * col <= 9]
    indices = [f"({image},{row},{col})" for image in range(3) for row, col in places]
    return train_tokenizer([string.printable], SPECIALS, [", ", " (", *indices, *words])


def run_quickstart(out: Path, seed: int = 0, pdfs: Path | None = None, tiny: bool = False) -> dict[str, Any]:
    """Data → encoder → three stages → evaluation → report, in one folder.

    Returns:
        The content of ``results.json``.
    """
    clock = Clock(out / "clock.json")
    say(f"building data from real documents and pictures in {out}/data")
    build_data(out / "data", seed, pdfs, tiny)
    clock.lap("data")

    summaries, init = [], None
    changes = (f"seed={seed}", *(TINY if tiny else ()))
    for name in STAGES:
        say(f"stage {name}")
        folder = out / name
        result = _stage(folder, f"{name}-mini", out / "data" / "train", init, changes)
        if not result.finished:
            raise Interrupted(f"stopped in stage {name}; everything is saved. Go on with the same command")
        clock.lap(name)
        summaries.append(_summary(folder, name))
        init = folder / "bundle"

    say("evaluating on held-out items, beside an untrained control")
    bundle = load_bundle(out / STAGES[-1] / "bundle")
    request = Request(str(out / "data" / "heldout"))
    report = evaluate(bundle.model, bundle.processor, request, out=out, resume=True)
    control = evaluate(_untrained(bundle, seed), bundle.processor, request)
    clock.lap("evaluation")
    results = _results(out, report, control, seed, tiny, clock)
    notes = _notes(results)
    write_report(
        out / "report.html", "mm15 quickstart", summaries, results, pick_examples(report), notes, bundle.processor
    )
    if (out / "bundle").exists():
        shutil.rmtree(out / "bundle")
    shutil.copytree(out / STAGES[-1] / "bundle", out / "bundle")
    write_atomic(out / "results.json", json.dumps(results, indent=1))
    say(_closing(out, results))
    return results


class Clock:
    """Seconds of each part of the journey, kept in a file: an interrupted journey adds to what it took before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The part that just ended."""
        now = time.perf_counter()
        self.parts[name] = round(self.parts.get(name, 0.0) + now - self._last, 1)
        self._last = now
        write_atomic(self.path, json.dumps(self.parts))


def say(sentence: str) -> None:
    """A line for the user."""
    print(f"\n== {sentence}", flush=True)


def _stage(folder: Path, recipe: str, data: Path, init: Path | None, changes: tuple[str, ...]) -> StageResult:
    if not (folder / "recipe.yaml").is_file():
        return start_stage(recipe, folder, data, init, changes)
    result = resume_stage(folder)
    return result


def _summary(folder: Path, name: str) -> StageSummary:
    """From the run folder, so that a stage that was trained by an earlier call is told in full."""
    rows = list(_log_rows(folder))
    seconds = sum(row.get("seconds", 0.0) for row in rows)
    return StageSummary(name, rows, json.loads((folder / "shares.json").read_text()), seconds)


def _log_rows(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / "log.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _untrained(bundle: Bundle, seed: int) -> MultimodalModel:
    """The same model before any training."""
    model = MultimodalModel(bundle.model.config, bundle.model.compute_dtype)
    model.init_weights(seed)
    return model


def _results(out: Path, report: EvalReport, control: EvalReport, seed: int, tiny: bool, clock: Clock) -> dict[str, Any]:
    recipes = {name: fingerprint(load(Recipe, out / name / "recipe.yaml")) for name in STAGES}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall_seconds": round(sum(clock.parts.values()), 1),
        "parts_seconds": clock.parts,
        # Linux counts kilobytes, macOS bytes; the largest worker process is added.
        "peak_rss_bytes": (peak + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        * (1 if sys.platform == "darwin" else 1024),
        **results_json(report, control),
        "seeds": [seed],
        "tiny": tiny,
        "recipe_hash": recipes,
        "versions": {
            "mm15": importlib.metadata.version("mm15"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        },
    }


def _notes(results: dict[str, Any]) -> list[str]:
    return [
        "A miniature trained from nothing; its encoder had a short pre-training on dense patch labels, not CLIP's.",
        "Measured with the mini suite, which has a seed of its own. Held out: documents, typefaces, drawings, "
        "photographs, tables, clips and words. Object names are shared; unseen names are reported apart and count in "
        "no average.",
        f"One seed ({results['seeds'][0]}), {results['versions']['machine']}, torch {results['versions']['torch']}.",
    ]


def _closing(out: Path, results: dict[str, Any]) -> str:
    rows = [
        f"   {row['benchmark']:<24} {row['metric']:<16} {row['value']:>6.1f}   untrained {row['untrained']:>5.1f}   "
        f"constant {row['constant']:>5.1f}   n={row['n']}"
        for row in results["scores"]
    ]
    table = "\n".join(rows)
    return (
        f"done in {results['wall_seconds'] / 60:.1f} minutes; MMBase {results['mmbase']}\n{table}\n\n"
        f"   look:  {out}/report.html\n"
        f"   chat:  .venv/bin/mm15 chat {out}/bundle --image PICTURE 'Where is the dog?'\n"
        f"   train: .venv/bin/mm15 train sft-mini --data {out}/data/train --from {out}/continual/bundle --out runs/mine"
    )
