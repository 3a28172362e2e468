"""Run one recipe: a bundle in, a bundle out. Wires data, model and training; knows what each stage needs."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mm15.base.config import fingerprint, load, to_yaml
from mm15.base.errors import ConfigError
from mm15.build._mini_suite import build_suite
from mm15.bundle import save_bundle
from mm15.data.loader import Loader
from mm15.data.mixture import ShareRow
from mm15.data.planner import PackBudget, PackCost, Planner, build_planner, pack_cost
from mm15.data.source import Source, open_sources
from mm15.dist.map import PROCESSES
from mm15.dist.ranks import any_rank, data_place, has_ranks, is_first, local_ranks, meet, rank_device, torchrun_ranks
from mm15.evals.during import During
from mm15.evals.request import Request
from mm15.io.atomic import atomic_folder, write_atomic
from mm15.model.lora import adapters, merge, peft_tensors
from mm15.model.multimodal import MultimodalModel
from mm15.processor import Processor
from mm15.train.encoder import DenseProcessor, EncoderModel, LabelSet, word_ids
from mm15.train.loop import Hook, TrainReport, train
from mm15.train.parallel import build_mesh
from mm15.train.recipe import Recipe, StageName, load_recipe
from mm15.train.run_config import LoraConfig
from mm15.train.sharded import full_weights, is_shared_out, whole_model
from mm15.train.start import Start, by_parts, start_of

RECIPE, ORIGIN, SHARES, LOG = "recipe.yaml", "run.json", "shares.json", "log.jsonl"
SUITE, ADAPTER = "mini-suite", "adapter"


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended. ``finished`` is False where a signal stopped it; ``mm15 resume`` goes on."""

    folder: str
    name: str
    finished: bool
    steps: int
    loss: float
    tokens: int
    tiles: int
    samples: int
    seconds: float


def start_stage(
    recipe: str | Path | Recipe,
    out: str | Path,
    data: str | Path = "",
    init: str | Path | None = None,
    changes: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
) -> StageResult:
    """Train a recipe from the start, in a new run folder.

    Args:
        recipe: a file, the name of a shipped one, or a recipe.
        out: the run folder: ``recipe.yaml`` (resolved), ``log.jsonl``, ``report.html``, ``checkpoints/``,
            ``shares.json``, ``bundle/``.
        data: folder that source paths start from.
        init: bundle to start from; without one the model is made new from ``recipe.size``.
        changes: ``a.b=value`` strings.
        hooks: called by this process's rank alone where others are started from here (``recipe.ranks``): a hook must
            not compute with a model that is shared out, which takes all ranks.

    Raises:
        ConfigError: the recipe, data or folder is wrong; everything at once.
    """
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, tuple(changes))
    out = Path(out)
    origin = {"data": str(Path(data).resolve()), "init": str(Path(init).resolve()) if init else None}
    with torchrun_ranks():
        # A start that was refused before its first step leaves no log, and may be tried again.
        if any_rank((out / LOG).exists()):
            raise ConfigError([f"{out} holds a run already: mm15 resume {out}, or give another --out"], str(out))
        if is_first():
            out.mkdir(parents=True, exist_ok=True)
            write_atomic(out / ORIGIN, json.dumps(origin, indent=1))
            write_atomic(out / RECIPE, to_yaml(resolved))
        return _run(resolved, out, origin, resume=False, hooks=hooks)


def resume_stage(run: str | Path, accept_plan: bool = False, hooks: Sequence[Hook] = ()) -> StageResult:
    """Continue a run folder from its newest valid checkpoint; a finished run only gets its bundle written.

    Raises:
        ConfigError: this is no run folder.
        PlanMismatch: data or mixture changed since the checkpoint and ``accept_plan`` is off.
    """
    run = Path(run)
    if not (run / RECIPE).is_file() or not (run / ORIGIN).is_file():
        raise ConfigError([f"{run} is no run folder: it has no {RECIPE} and {ORIGIN}"], str(run))
    origin = json.loads((run / ORIGIN).read_text(encoding="utf-8"))
    with torchrun_ranks():
        return _run(load(Recipe, run / RECIPE), run, origin, resume=True, accept_plan=accept_plan, hooks=hooks)


def mixture_of(recipe: str | Path, data: str | Path, changes: Sequence[str] = ()) -> tuple[list[dict[str, Any]], str]:
    """The share table of a recipe without training: rows, and the same as text."""
    resolved = load_recipe(recipe, tuple(changes))
    begun = start_of(resolved, Path(data), None, in_memory=False)
    planner, _, _ = _stream(resolved, Path(data), begun)
    rows = _shares(resolved, planner)
    return [asdict(row) for row in rows], share_text(rows)


def share_text(rows: Sequence[ShareRow]) -> str:
    """The share table as aligned text."""
    lines = [f"{'group':<12} {'category':<14} {'source':<22} {'rows':>9} {'share':>7} {'draws':>10} {'epochs':>7}"]
    lines += [
        f"{row.group:<12} {row.category!s:<14} {row.source:<22} {row.size:>9,} {row.share:>6.1%} {row.draws:>10,.0f} "
        f"{row.epochs:>7.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def _run(
    recipe: Recipe,
    out: Path,
    origin: dict[str, Any],
    resume: bool,
    accept_plan: bool = False,
    hooks: Sequence[Hook] = (),
) -> StageResult:
    begun = start_of(recipe, Path(origin["data"]), origin["init"], in_memory=not by_parts(recipe))
    # The other ranks, of torchrun or started below, find the costs that the first has just written.
    if not is_first():
        meet()
    stream = _stream(recipe, Path(origin["data"]), begun)
    if is_first():
        meet()
    planner = stream[0]
    rows = _shares(recipe, planner)
    planner.mixture.check_repetition(_draws(recipe, planner))
    if is_first():
        print(share_text(rows), flush=True)
        write_atomic(out / SHARES, json.dumps([asdict(row) for row in rows], indent=1))
    _evaluation(recipe, out, Path(origin["data"]), begun.processor)  # what is wrong shows before any rank starts
    ranks = _local_ranks(recipe)
    work = local_ranks(ranks, PROCESSES, _other_rank, recipe, out, origin, resume, accept_plan)
    with work if ranks > 1 else nullcontext():
        report, weights = _train(recipe, out, origin, stream, begun, resume, accept_plan, hooks)
    if is_first() and report.status == "finished":
        model = begun.model
        if recipe.train.lora:
            if weights is not None:  # shared out over ranks: put together again
                model = start_of(recipe, Path(origin["data"]), origin["init"], in_memory=False).model
                model.load_state_dict(weights, assign=True)
                weights = None
            _save_adapters(out / ADAPTER, model, recipe.train.lora)
            merge(model)
        extra = {"stage": recipe.stage.value, "steps": report.step, "recipe_hash": fingerprint(recipe)}
        save_bundle(out / "bundle", model, begun.processor, recipe.model_dump(mode="json"), extra, weights)
    elif is_first():
        print(f"stopped after step {report.step} of {report.steps}; everything is saved. Go on with: mm15 resume {out}")
    meet()  # Whoever returns finds the bundle, on every rank.
    return _result(recipe, report, out)


def _save_adapters(folder: Path, model: MultimodalModel, lora: LoraConfig) -> None:
    """The adapters as a folder that PEFT reads, where it can be given a model of these layer names."""
    layers = [name for name, _, _ in adapters(model)]
    about = {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": layers,
        "inference_mode": True,
    }
    with atomic_folder(folder) as draft:
        save_file(peft_tensors(model), draft / "adapter_model.safetensors")
        (draft / "adapter_config.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _local_ranks(recipe: Recipe) -> int:
    """How many ranks to start here: none beside those that ``torchrun`` started, and no more than share a step."""
    if has_ranks() or torch.cuda.is_available():
        return 1
    most = min(recipe.ranks, os.cpu_count() or 1, recipe.train.accumulation)
    return next(count for count in range(most, 0, -1) if recipe.train.accumulation % count == 0)


def _other_rank(recipe: Recipe, out: Path, origin: dict[str, Any], resume: bool, accept_plan: bool) -> None:
    begun = start_of(recipe, Path(origin["data"]), origin["init"], in_memory=not by_parts(recipe))
    stream = _stream(recipe, Path(origin["data"]), begun)
    _train(recipe, out, origin, stream, begun, resume, accept_plan)


def _evaluation(
    recipe: Recipe, out: Path, data: Path, processor: Processor, empty: MultimodalModel | None = None
) -> list[Hook]:
    """The recipe's evaluation as a hook; the mini suite is built where no files are named. ``empty``: of a model that
    will be shared out, on the meta device."""
    asked = recipe.evaluate
    if asked is None:
        return []
    folder = data / asked.data if asked.data else out / SUITE
    if not asked.data and not folder.is_dir():
        if has_ranks():
            raise ConfigError(["evaluate.data is needed under torchrun: build it once with mm15 data build mini-suite"])
        print(f"building the mini suite in {folder}", flush=True)
        build_suite(folder)
    request = Request(str(folder), tuple(asked.benchmarks), asked.suite, asked.limit)
    return [During(asked.every, request, processor, out, None if empty is None else partial(whole_model, empty))]


def _train(
    recipe: Recipe,
    out: Path,
    origin: dict[str, Any],
    stream: Stream,
    begun: Start,
    resume: bool,
    accept_plan: bool,
    hooks: Sequence[Hook] = (),
) -> tuple[TrainReport, dict[str, Tensor] | None]:
    """The report, and what belongs into a bundle where the model itself holds a part of it (None: all is there)."""
    planner, sources, trained = stream
    parallel = recipe.train.parallel
    if has_ranks():
        build_mesh(parallel)
    if begun.weights is None and parallel.shard == "none":
        trained.module.to(rank_device())
    empty = copy.deepcopy(begun.model) if parallel.shares_out and has_ranks() else None
    asked = _evaluation(recipe, out, Path(origin["data"]), begun.processor, empty)
    rank, world = data_place()
    cache_mb = recipe.cache_mb // world
    with Loader(
        planner,
        sources,
        trained.processor,
        rank,
        world,
        recipe.workers,
        timeout_s=recipe.worker_timeout_s,
        cache_mb=cache_mb,
    ) as loader:
        report = train(
            trained.module,
            loader,
            recipe.train,
            out,
            resume=resume,
            accept_plan=accept_plan,
            hooks=[*hooks, *asked],
            name=recipe.name,
            sources=[source.name for source in recipe.sources],
            longest=recipe.max_tokens,
            weights=begun.weights,
        )
    needs_gathering = is_shared_out(begun.model) and report.status == "finished"
    return report, full_weights(begun.model) if needs_gathering else None


def _result(recipe: Recipe, report: TrainReport, out: Path) -> StageResult:
    return StageResult(
        folder=str(out),
        name=recipe.name,
        finished=report.status == "finished",
        steps=report.step,
        loss=report.loss,
        tokens=report.tokens,
        tiles=report.tiles,
        samples=report.samples,
        seconds=report.seconds,
    )


@dataclass(frozen=True, slots=True)
class Trained:
    """What the loop trains and what encodes its samples: the whole model, or the encoder with its dense head."""

    module: nn.Module
    processor: Any


Stream = tuple[Planner, list[Source], Trained]
"""What a stage reads and what it trains."""


def _stream(recipe: Recipe, data: Path, begun: Start) -> Stream:
    model, processor = begun.model, begun.processor
    sources = open_sources(recipe.sources, data)
    trained, cost = Trained(model, processor), pack_cost(model.config)
    if recipe.stage is StageName.ENCODER:
        labels = LabelSet.of(source.row(index) for source in sources for index in range(len(source)))
        policies = [recipe.split, *recipe.other_splits]
        trained = Trained(
            EncoderModel(model, labels, word_ids(labels, processor.tokenizer), recipe.seed),
            DenseProcessor(labels, policies, model.config.vision.patch_size),
        )
        cost = PackCost(per_token=0, per_tile=1)  # no decoder: its questions are no positions
    budget = PackBudget(max_tokens=recipe.train.pack_tokens, max_tiles=recipe.train.pack_tiles)
    planner = build_planner(
        sources,
        trained.processor,
        recipe.mixture,
        budget,
        recipe.seed,
        recipe.window,
        step_packs=recipe.train.accumulation,
        cost=cost,
    )
    return planner, sources, trained


def _draws(recipe: Recipe, planner: Planner) -> float:
    return planner.draws_per_pack * recipe.train.steps * recipe.train.accumulation


def _shares(recipe: Recipe, planner: Planner) -> list[ShareRow]:
    return planner.mixture.share_table(_draws(recipe, planner))
