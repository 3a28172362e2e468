"""MM1.5-Video and MM1.5-UI at miniature scale, over seeds: does a little tuning help, and does the generalist?

    make quickstart
    python benchmarks/variants.py --run runs/quickstart --out runs/variants [--seeds 3] [--parts video ui]

Video: clips composed of real footage and moving cut-outs with exact questions, training and held-out side of different
films, drawings and photographs; and windows of the two shipped real films, asked how often the place changes. The SFT
bundle as it is ("training-free") beside the same after ``video-mini``. Open answers by exact match; the likeliest of
the offered answers ("chosen") beside its chance, because a model that was never told how to answer may know and say
it otherwise.

UI: built screens. Of the twelve kinds of pages three are never trained on (``UNSEEN``); of known kinds, too, held-out
screens have other texts, typefaces, photographs and icon sets. ``ui-mini`` from the SFT bundle, from the one before it
(continual pre-training: the paper's ablation "without general SFT"); ``--arms`` adds the pre-trained one.

One data set and one set of bundles for all seeds: a seed decides which rows are drawn in which order.
Everything that is finished in ``--out`` is kept, so that the same command goes on with a stopped one.
Answers are greedy. The results are written to ``<out>/variants.json`` or ``--result FILE``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.config import fingerprint
from mm15.base.types import Category, MediaRef, Sample, VideoPart, user
from mm15.build import clips, screens
from mm15.build._screen_pages import KINDS
from mm15.build.clips import FILLERS
from mm15.build.materials import Materials, Split
from mm15.bundle import Bundle, load_bundle
from mm15.dist.map import Engine
from mm15.evals.request import Request
from mm15.evals.results import EvalReport
from mm15.evals.run import evaluate
from mm15.evals.scoring import exact_match
from mm15.generate.engine import batches, generate
from mm15.io.atomic import atomic_folder, write_atomic
from mm15.io.jsonl import read_jsonl, write_jsonl
from mm15.stage import resume_stage, start_stage
from mm15.train.recipe import load_recipe

FRAMES = 12
"""As video-mini has it."""
CLIPS = {"train": 1200, "heldout": 240}
SCREENS = {"train": 480, "heldout": 240}
SIDE = 96
"""Longest side of a clip, px."""
WINDOW = 568
"""Longest side of a screen, px."""
UNSEEN = ("table", "profile", "weather")
"""Kinds of pages that are never trained on."""
CUTS = (9, 24, 44, 60, 77)
"""First frames, of 80 at 8 a second, of the places of ``bikes``; found by eye."""
LENGTH = {"bikes": 80, "rabbit": 42}
MOST_CUTS = 3
"""As in the composed clips."""
UI = ("screen2words", "widget-captioning", "taperception", "ui-ref-android", "ui-grd-android")
BEFORE = {"after-sft": "bundle", "without-sft": "continual/bundle", "pre-trained": "pretrain/bundle"}
"""Where ui-mini starts → bundle of the quickstart."""


# ---- data ----


def build_clips(folder: Path, engine: Engine) -> None:
    for split in ("train", "heldout"):
        clips.build(folder / split, split, CLIPS[split], 0, Materials(), size=SIDE, engine=engine)


def build_screens(folder: Path, engine: Engine) -> None:
    """Both sides; training without the unseen kinds; held-out screens laid out as benchmarks, by kind."""
    sides: tuple[Split, ...] = ("train", "heldout")
    for split in sides:
        screens.build(folder / f"all-{split}", split, SCREENS[split], 0, Materials(), size=WINDOW, engine=engine)
    keep_screens(folder / "all-train", folder / "train", is_known)
    for name, keep in {"known": is_known, "unseen": lambda screen: not is_known(screen)}.items():
        chosen = folder / "chosen" / name
        # As many known as unseen ones: three kinds of nine, in turn.
        keep_screens(folder / "all-heldout", chosen, lambda screen, keep=keep: keep(screen) and asked(screen))
        for benchmark in UI:
            own = folder / name / benchmark
            if benchmark.startswith("ui-"):
                # Lists are answered at length and are no part of the reported means.
                left = shutil.ignore_patterns("*_widget_listing.jsonl")
                shutil.copytree(chosen, own, copy_function=os.link, ignore=left)
            else:
                shutil.copytree(chosen / "screens", own, copy_function=os.link)


def is_known(screen: int) -> bool:
    return list(KINDS)[screen % len(KINDS)] not in UNSEEN


def asked(screen: int) -> bool:
    """Every screen of an unseen kind, every third of a known one."""
    return not is_known(screen) or screen // len(KINDS) % 3 == 0


def keep_screens(built: Path, out: Path, keep: Callable[[int], bool]) -> None:
    """A folder of built screens with some of them only."""
    (out / "screens" / "split").mkdir(parents=True)
    for file in sorted(built.glob("*.jsonl")):
        write_jsonl(out / file.name, (row for _, row in read_jsonl(file) if keep(int(row["id"].rpartition("/")[2]))))
    for file in sorted((built / "screens").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as opened:
            head, *rows = csv.reader(opened)
        place = next(head.index(name) for name in ("screenId", "img_id") if name in head)
        with (out / "screens" / file.name).open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows([head, *(row for row in rows if keep(int(row[place])))])
    for file in sorted((built / "screens" / "split").glob("*.txt")):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if keep(int(line))]
        (out / "screens" / "split" / file.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (out / "screens" / "combined").mkdir()
    for file in sorted((built / "screens" / "combined").iterdir()):
        if keep(int(file.stem)):
            os.link(file, out / "screens" / "combined" / file.name)


# ---- questions about clips ----


class Asked:
    """A question about a clip, its answer, and the answers it may be chosen from."""

    def __init__(
        self, key: str, clip: VideoPart, question: str, answer: str, task: str, options: Sequence[str]
    ) -> None:
        self.answer, self.task, self.question = answer, task, question
        self.options = [option for option in options if option not in FILLERS]
        self.sample = Sample(key, "clips", Category.VIDEO, (user(clip, f"\n{question}"),))


def composed(folder: Path) -> list[Asked]:
    rows = [row for _, row in read_jsonl(folder / "clips.jsonl")]
    return [
        Asked(row["id"], VideoPart(MediaRef(str(folder / row["video"])), FRAMES),
              row["conversations"][0]["value"].removeprefix("<video>\n"), row["conversations"][1]["value"],
              row["task"], row["options"])
        for row in rows
    ]  # fmt: skip


def real() -> list[Asked]:
    """Windows of the shipped films, from the middle of one place to the middle of another."""
    listed = []
    root = Materials().root / "clips"
    for name, cuts in {"bikes": CUTS, "rabbit": ()}.items():
        edges = [0, *cuts, LENGTH[name]]
        places = [(first, last) for first, last in pairwise(edges) if last - first > 4]
        for one in range(len(places)):
            for other in range(one, min(len(places), one + MOST_CUTS + 1)):
                first, last = places[one], places[other]
                start = first[0] if one == other else (first[0] + first[1]) // 2
                end = last[1] if one == other else (last[0] + last[1] + 1) // 2
                clip = VideoPart(MediaRef(str(root / f"{name}.mp4")), FRAMES, start / 8 + 0.01, end / 8 - 0.01)
                listed.append(Asked(f"real/{name}/{one}-{other}", clip, "How many times does the place change?",
                                    str(other - one), "real cuts", ["0", "1", "2", "3"]))  # fmt: skip
    return listed


def answer(bundle: Bundle, questions: Sequence[Asked]) -> list[tuple[str, str]]:
    """What is said, and which of the offered answers is likeliest by the mean over its tokens."""
    prompts = [bundle.processor.encode(one.sample, answering=True) for one in questions]
    said = []
    for group in batches(prompts, 16):
        said += [made.text.strip() for made in generate(bundle.model, bundle.processor, group, 16)]
    chosen = [likeliest(bundle, *one) for one in zip(prompts, questions, strict=True)]
    return list(zip(said, chosen, strict=True))


@torch.inference_mode()
def likeliest(bundle: Bundle, prompt: EncodedSample, question: Asked) -> str:
    tokenizer, image_token = bundle.processor.tokenizer, bundle.processor.image_token
    end = min(bundle.processor.stop_tokens)
    with_answers = [extended(prompt, [*tokenizer.encode(option), end]) for option in question.options]
    output = bundle.model(pack(with_answers, image_token, bundle.processor.tokens_per_tile))
    chances = output.logits_LV.float().log_softmax(-1).gather(1, output.targets_L[:, None])[:, 0]
    lengths = [int((sample.labels_T != IGNORE).sum()) for sample in with_answers]
    means = [float(part[:-1].mean()) for part in chances.split(lengths)]
    return question.options[max(range(len(means)), key=means.__getitem__)]


def extended(prompt: EncodedSample, ids: Sequence[int]) -> EncodedSample:
    tokens_T = torch.cat([prompt.tokens_T, torch.tensor(ids)])
    labels_T = torch.full_like(tokens_T, IGNORE)
    labels_T[prompt.num_tokens - 1 : -1] = torch.tensor(ids)
    return replace(prompt, tokens_T=tokens_T, labels_T=labels_T)


def scores(questions: Sequence[Asked], answered: Sequence[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Task → what came out in percent, beside chance and the best answer that looks at no clip."""
    tasks: dict[str, list[tuple[Asked, tuple[str, str]]]] = {}
    for one, given in zip(questions, answered, strict=True):
        tasks.setdefault(one.task, []).append((one, given))
    found = {}
    for task, rows in tasks.items():
        counts = Counter(one.answer for one, _ in rows)
        found[task] = {
            "n": len(rows),
            "said": 100 * statistics.mean(exact_match(said, one.answer) for one, (said, _) in rows),
            "chosen": 100 * statistics.mean(float(chosen == one.answer) for one, (_, chosen) in rows),
            "chance": 100 * statistics.mean(1 / len(one.options) for one, _ in rows),
            "constant": 100 * counts.most_common(1)[0][1] / len(rows),
        }
    whole = [row for task, row in found.items() if task != "real cuts"]
    total = sum(row["n"] for row in whole)
    found["all composed"] = {
        name: total if name == "n" else sum(row["n"] * row[name] for row in whole) / total
        for name in (whole[0] if whole else ())
    }
    return found


# ---- runs ----


def trained(recipe: str, data: Path, start: Path, out: Path, seed: int, changes: Sequence[str]) -> Bundle:
    """The bundle of a run, which is started, gone on with, or there already."""
    if not (out / "bundle").is_dir():
        if (out / "log.jsonl").is_file():
            resume_stage(out)
        else:
            start_stage(recipe, out, data, start, (f"seed={seed}", *changes))
    return load_bundle(out / "bundle")


def once(file: Path, make: Callable[[], Any]) -> Any:
    """A JSON value that is made once."""
    if not file.is_file():
        begin = time.perf_counter()
        made = {"value": make(), "seconds": round(time.perf_counter() - begin, 1)}
        write_atomic(file, json.dumps(made, indent=1))
        print(f"{file.stem}: {made['seconds']} s", flush=True)
    return json.loads(file.read_text(encoding="utf-8"))["value"]


def video(args: argparse.Namespace, data: Path) -> dict[str, Any]:
    questions = [*composed(data / "heldout"), *real()]
    free = once(args.out / "video-free.json",
                lambda: scores(questions, answer(load_bundle(args.run / "bundle"), questions)))  # fmt: skip
    tuned = []
    for seed in range(args.seeds):

        def run(seed: int = seed) -> dict[str, Any]:
            folder = args.out / f"video-{seed}"
            bundle = trained("video-mini", data / "train", args.run / "bundle", folder, seed, args.set)
            return scores(questions, answer(bundle, questions))

        tuned.append(once(args.out / f"video-{seed}.json", run))
    ways = {"training-free": [free], "SFT": tuned}
    return {
        task: {**{name: round(row[name], 1) for name in ("n", "chance", "constant")},
               **{f"{how}, {who}": spread([one[task][how] for one in found])
                  for how in ("said", "chosen") for who, found in ways.items()}}
        for task, row in free.items()
    }  # fmt: skip


def ui(args: argparse.Namespace, data: Path) -> dict[str, Any]:
    arms: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        for arm in args.arms:

            def run(seed: int = seed, arm: str = arm) -> dict[str, Any]:
                folder = args.out / f"ui-{arm}-{seed}"
                bundle = trained("ui-mini", data / "train", args.run / BEFORE[arm], folder, seed, args.set)
                return asked_screens(bundle, data)

            arms.setdefault(arm, []).append(once(args.out / f"ui-{arm}-{seed}.json", run))
    arms["no-ui-tuning"] = [once(args.out / "ui-free.json",
                                 lambda: asked_screens(load_bundle(args.run / "bundle"), data))]  # fmt: skip
    first = arms["no-ui-tuning"][0]
    return {
        kinds: {
            name: {"n": row["n"], "constant": row["constant"],
                   **{arm: spread([one[kinds][name]["value"] for one in found]) for arm, found in arms.items()}}
            for name, row in first[kinds].items()
        }
        for kinds in first
    }  # fmt: skip


def asked_screens(bundle: Bundle, data: Path) -> dict[str, dict[str, Any]]:
    """Known and unseen kinds of pages → benchmark and metric → value."""
    return {
        kinds: told(evaluate(bundle.model, bundle.processor, Request(str(data / kinds), UI, "ui", partial=True)))
        for kinds in ("known", "unseen")
    }


def told(report: EvalReport) -> dict[str, Any]:
    rows = {}
    for score in [*report.scores, *report.details]:
        constant = report.constants.get(score.benchmark) if score in report.scores else None
        rows[f"{score.benchmark} {score.metric}"] = {
            "n": score.n, "value": score.value, "constant": round(constant.value, 1) if constant else None,
        }  # fmt: skip
    return rows


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": round(statistics.mean(values), 1), "seeds": [round(value, 1) for value in values]}


def lines(table: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, row in table.items():
        if all(not isinstance(value, dict) or "seeds" not in value for value in row.values()):
            yield f"{indent}{name}"
            yield from lines(row, f"{indent}  ")
            continue
        values = [f"{key} {value['mean'] if isinstance(value, dict) else value}" for key, value in row.items()]
        yield f"{indent}{name}: " + " · ".join(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a quickstart: its bundles are the starts")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=("video", "ui"), default=["video", "ui"])
    parser.add_argument("--arms", nargs="+", choices=tuple(BEFORE), default=["after-sft", "without-sft"],
                        help="where ui-mini starts")  # fmt: skip
    parser.add_argument("--workers", type=int, default=0, help="processes that build data; 0: one for each core")
    parser.add_argument("--set", action="append", default=[], help="change a value of both recipes: a.b=value")
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, no GPU",
        "torch": torch.__version__, "seeds": args.seeds, "changes": args.set,
        "recipes": {name: fingerprint(load_recipe(f"{name}-mini", tuple(args.set))) for name in args.parts},
    }  # fmt: skip
    parts = {"video": (build_clips, video), "ui": (build_screens, ui)}
    for part in args.parts:
        build, run = parts[part]
        data = args.out / f"{part}-data"
        if not data.is_dir():
            with atomic_folder(data, durable=False) as draft:
                build(draft, Engine(workers=args.workers))
        result[part] = run(args, data)
        print("\n".join(lines(result[part])), flush=True)
    write_atomic(args.result or args.out / "variants.json", json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
