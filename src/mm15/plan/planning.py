"""The plan of a run on a cluster: what is in it, what it takes, whether it fits, and what would make it fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mm15.base.errors import ConfigError
from mm15.data.mixture import ShareRow
from mm15.model.sizes import SIZES, ModelConfig, with_vocab
from mm15.plan.calibrate import GROUPS, Calibration, Measured, Seen, calibration_of, measured
from mm15.plan.compute import Work, work_of
from mm15.plan.hardware import Cluster, cluster_of
from mm15.plan.memory import USABLE, Memory, memory_of
from mm15.plan.workload import Workload, workload_as_stated, workload_of_data
from mm15.text.template import TemplateConfig
from mm15.text.tokenizer import Tokenizer
from mm15.train.optim import matmul_dtype
from mm15.train.parallel_config import ParallelConfig
from mm15.train.recipe import Recipe, StageName, load_recipe
from mm15.train.rehearsal import small_pack

GIB = 2**30


@dataclass(frozen=True, slots=True)
class LargestPack:
    """The pack that costs most memory."""

    number: int
    tokens: int
    tiles: int
    samples: int
    targets: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that ``mm15 plan`` tells. Totals are of the whole run, over all ranks."""

    recipe: str
    hardware: str
    origin: str
    """Where the numbers come from: ``data``, counted; ``data``, of the first packs; or ``stated``."""
    steps: int
    packs: int
    samples: float
    tokens: float
    tiles: float
    targets: float
    fill: tuple[float, float]
    samples_per_step: float
    largest: LargestPack
    work: dict[str, float]
    """Forward operations of the run by component."""
    training: float
    """Forward and backward operations of the run."""
    again: float
    """Operations that checkpointing makes a second time."""
    imbalance: float
    """Mean over steps of the most loaded rank over the mean rank."""
    parallel: str
    memory: Memory
    memory_limit: float
    """Bytes of a device that a plan may fill."""
    fits: bool
    fix: str
    """The change that makes it fit; empty where it fits already or nothing that was tried does."""
    step_seconds: float
    """Of the median step."""
    rate: str
    """In words, where the speed comes from."""
    hours: float
    device_hours: float
    cost: float
    kwh: float
    shares: tuple[ShareRow, ...]


def model_of(recipe: Recipe, data: Path | None) -> ModelConfig:
    """The recipe's model, with the vocabulary of the data's tokenizer where that is there, and the recipe's tile."""
    config = SIZES[recipe.size]
    path = data / recipe.tokenizer if data else None
    if path is not None and path.is_file():
        tokenizer = Tokenizer.from_file(path)
        config = with_vocab(config, tokenizer.vocab_size, tokenizer.special(TemplateConfig().image))
    raw = config.model_dump()
    raw["vision"]["image_size"] = recipe.split.tile
    return ModelConfig.model_validate(raw)


def plan_run(
    recipe: str | Path,
    hardware: str,
    data: Path | None = None,
    calibration: Path | None = None,
    price: float | None = None,
    changes: Sequence[str] = (),
) -> Plan:
    """Plan a recipe.

    Args:
        hardware: such as ``64xH200``.
        data: folder of the data; without it the workload is as stated in ``stated.yaml``.
        calibration: a run folder whose steps give the speed.
        price: USD an hour of one device.

    Raises:
        ConfigError: recipe, hardware, data or calibration are wrong.
    """
    resolved, cluster = load_recipe(recipe, tuple(changes)), cluster_of(hardware)
    if resolved.stage is StageName.ENCODER:
        raise ConfigError(
            ["the encoder stage is not planned: it trains no decoder (mm15 describe counts its size)"], "recipe"
        )
    config = model_of(resolved, data)
    workload = workload_of_data(resolved, config, data) if data else workload_as_stated(resolved, config)
    found = calibrated(calibration) if calibration else None
    return plan_of(resolved, config, workload, cluster, found, price)


def plan_of(
    recipe: Recipe,
    config: ModelConfig,
    workload: Workload,
    cluster: Cluster,
    calibration: Calibration | None = None,
    price: float | None = None,
) -> Plan:
    """The plan, from all that it depends on. Raises ``ConfigError`` where the packs cannot be dealt to the ranks."""
    world = cluster.count
    ways = world // recipe.train.parallel.tensor
    if recipe.train.accumulation % max(1, ways):
        raise ConfigError(
            [
                f"train.accumulation {recipe.train.accumulation} is no multiple of the {ways} ranks that take "
                f"different "
                f"packs: change it, or the number of devices"
            ],
            "recipe",
        )
    operations_PG = operations(config, recipe.split.tile, workload)
    flops_P = operations_PG.sum(1)
    work = _total(config, recipe.split.tile, workload)
    again = work.again(recipe.train.parallel.checkpointing)
    imbalance = _imbalance(flops_P, recipe.train.accumulation, ways)
    if calibration is None:
        busy, rate = _assumed(float(np.median(workload.per_step(flops_P))), cluster)
        seconds = busy * imbalance * (1 + again / work.training)
    else:
        steps_XG = np.stack([workload.per_step(operations_P) for operations_P in operations_PG.T], axis=1)
        packs = recipe.train.accumulation / ways
        seconds, rate = float(np.median(calibration.seconds(steps_XG, packs))), calibration.told
    largest = _largest(workload)
    memory = _memory(recipe, config, largest, cluster, recipe.train.parallel)
    limit = cluster.device.memory_gib * GIB * USABLE
    hours = seconds * recipe.train.steps / 3600
    cost = cluster.device.price if price is None else price
    exact = "data, every pack counted" if workload.exact else f"{workload.origin}, by the first {len(flops_P):,} packs"
    return Plan(
        recipe=recipe.name,
        hardware=cluster.told,
        origin=exact,
        steps=recipe.train.steps,
        packs=workload.packs,
        samples=workload.total(workload.samples_P),
        tokens=workload.total(workload.tokens_P),
        tiles=workload.total(workload.tiles_P),
        targets=workload.total(workload.targets_P),
        fill=workload.fill,
        samples_per_step=float(workload.per_step(workload.samples_P).mean()),
        largest=largest,
        work=asdict(work),
        training=work.training,
        again=again,
        imbalance=imbalance,
        parallel=_told(recipe.train.parallel),
        memory=memory,
        memory_limit=limit,
        fits=memory.total <= limit,
        fix="" if memory.total <= limit else _fix(recipe, config, largest, cluster, limit),
        step_seconds=seconds,
        rate=rate,
        hours=hours,
        device_hours=hours * world,
        cost=hours * world * cost,
        kwh=hours * world * cluster.device.watts / 1000,
        shares=workload.shares,
    )


def operations(config: ModelConfig, tile: int, workload: Workload) -> np.ndarray:
    """Forward and backward operations of every pack by ``calibrate.GROUPS``, [P, G]."""
    columns = (workload.tokens_P, workload.tiles_P, workload.pairs_P, workload.targets_P)
    return np.array([_by_group(work_of(config, tile, *map(float, row))) for row in zip(*columns, strict=True)])


def _by_group(work: Work) -> tuple[float, ...]:
    found = {"vision": work.vision + work.connector, "decoder": work.decoder, "head": work.head}
    return tuple(work.training / work.forward * found[group] if work.forward else 0.0 for group in GROUPS)


def calibrated(run: Path) -> Calibration:
    """Rates from a run and the plan of the same run. Raises ``ConfigError`` as ``measured``."""
    told = measured(run)
    return calibration_of(str(run), _seen(told))


def _seen(told: Measured) -> Seen:
    """Of the measured steps the log tells tokens, tiles and targets; pairs go by the plan's mean."""
    recipe, tile = told.recipe, told.recipe.split.tile
    config = model_of(recipe, told.data)
    planned = workload_of_data(recipe, config, told.data)
    pairs = planned.pairs_P.sum() / planned.tokens_P.sum()
    rows = zip(told.tokens, told.tiles, told.targets, strict=True)
    small = small_pack(config, recipe.train)
    lengths = np.diff(small.borders)
    few = (small.tokens_T.numel(), len(small.tiles_NCHW), (lengths * (lengths + 1)).sum() / 2, small.num_targets)
    ways = told.ranks // recipe.train.parallel.tensor
    return Seen(
        operations_XG=np.array([_by_group(work_of(config, tile, t, n, t * pairs, g)) for t, n, g in rows]),
        seconds_X=told.seconds,
        packs=recipe.train.accumulation / ways,
        parts=told.parts,
        small=told.small,
        small_operations_G=ways * np.array(_by_group(work_of(config, tile, *map(float, few)))),
    )


def _total(config: ModelConfig, tile: int, workload: Workload) -> Work:
    columns = (workload.tokens_P, workload.tiles_P, workload.pairs_P, workload.targets_P)
    return work_of(config, tile, *(workload.total(column) for column in columns))


def _assumed(step_flops: float, cluster: Cluster) -> tuple[float, str]:
    device = cluster.device
    speed = device.bf16_tflops * 1e12 * device.mfu * cluster.count
    told = f"{device.mfu:.0%} of {device.bf16_tflops:g} TFLOP/s a device: an assumption, not measured"
    return step_flops / speed, told


def _imbalance(flops_P: np.ndarray, accumulation: int, ways: int) -> float:
    whole = len(flops_P) // accumulation * accumulation
    if ways == 1 or not whole:
        return 1.0
    # Micro-batch m of rank r is pack m · W + r of its step; ranks wait for each other after every micro-batch.
    rounds = flops_P[:whole].reshape(-1, ways)
    return float((rounds.max(1) / rounds.mean(1)).mean())


def _largest(workload: Workload) -> LargestPack:
    weight = workload.tokens_P / workload.budget.max_tokens + workload.tiles_P / workload.budget.max_tiles
    number = int(weight.argmax())
    return LargestPack(
        number=number,
        tokens=int(workload.tokens_P[number]),
        tiles=int(workload.tiles_P[number]),
        samples=int(workload.samples_P[number]),
        targets=int(workload.targets_P.max()),
    )


def _memory(
    recipe: Recipe, config: ModelConfig, largest: LargestPack, cluster: Cluster, parallel: ParallelConfig
) -> Memory:
    pack = (largest.tokens, largest.tiles, largest.targets)
    auto = cluster.name != "cpu" or matmul_dtype(torch.device("cpu")) is torch.bfloat16  # "cpu" is this machine
    bf16 = recipe.train.precision == "bf16" or (recipe.train.precision == "auto" and auto)
    return memory_of(config, recipe.split.tile, pack, recipe.train.optimizer, parallel, cluster.count, bf16)


def _fix(recipe: Recipe, config: ModelConfig, largest: LargestPack, cluster: Cluster, limit: float) -> str:
    """The first change that fits, from the cheapest to the dearest."""
    now = recipe.train.parallel
    ladder: list[tuple[str, dict[str, Any], float]] = []
    if now.checkpointing == "none":
        ladder.append(("checkpointing=selective", {"checkpointing": "selective"}, 1))
    if now.shard == "none" and cluster.count > 1:
        ladder.append(("shard=full", {"shard": "full"}, 1))
        ladder.append(("shard=full and checkpointing=selective", {"shard": "full", "checkpointing": "selective"}, 1))
    full: dict[str, Any] = {"checkpointing": "full"} | ({"shard": "full"} if cluster.count > 1 else {})
    told = " and ".join(f"{name}={value}" for name, value in full.items())
    ladder.append((told, full, 1))
    for tensor in (2, 4, 8):
        if cluster.count % tensor == 0 and config.decoder.kv_heads % tensor == 0:
            ladder.append((f"{told} and tensor={tensor}", full | {"tensor": tensor}, 1))
    ladder.append((f"{told}, with packs of half the size (train.pack_tokens, train.pack_tiles)", full, 0.5))
    for words, update, factor in ladder:
        changed = now.model_copy(update=update)
        smaller = replace(
            largest,
            tokens=int(largest.tokens * factor),
            tiles=int(largest.tiles * factor),
            targets=int(largest.targets * factor),
        )
        try:
            if _memory(recipe, config, smaller, cluster, changed).total <= limit:
                return f"train.parallel: {words}"
        except ConfigError:  # ranks that do not divide so
            continue
    return ""


def _told(parallel: ParallelConfig) -> str:
    default = ParallelConfig()
    told = [f"{name} {value}" for name, value in parallel if value != getattr(default, name)]
    return ", ".join(told) or "every rank holds everything"
