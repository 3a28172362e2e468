"""The largest possible pack goes through before the first step, so that trouble with memory shows at once, by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mm15.base.batch import IGNORE, PackedBatch
from mm15.base.errors import MM15Error
from mm15.dist.ranks import meet
from mm15.model.sizes import ModelConfig
from mm15.train.encoder import QUESTIONS, EncoderModel
from mm15.train.loss import CATEGORIES, loss_sums
from mm15.train.machine import memory, memory_there
from mm15.train.optim import OptimizerSet
from mm15.train.parts import StepClock
from mm15.train.run_config import TrainConfig


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the largest pack was and took. ``used``: bytes as ``machine.memory``; ``later``: the optimizer's averages,
    which the first step adds."""

    tokens: int
    tiles: int
    seconds: float
    used: dict[str, int]
    later: int

    def told(self) -> str:
        """As a sentence."""
        used = ", ".join(f"{name} {_gib(size)}" for name, size in self.used.items())
        return (
            f"rehearsal of the largest pack ({self.tokens:,} tokens, {self.tiles} tiles): {self.seconds:.1f} s; "
            f"{used}; the optimizer adds {_gib(self.later)}"
        )


def largest_pack(model: nn.Module, config: TrainConfig, longest: int | None = None) -> PackedBatch:
    """Full in tiles and tokens, as far as both fit: tiles first, words behind them, every word trained.

    Args:
        longest: most tokens of one sample (default: the pack is one sample, which is the most for attention).
    """
    sizes: ModelConfig = model.config  # type: ignore[assignment]
    side = sizes.vision.image_size
    if isinstance(model, EncoderModel):
        each = (side // sizes.vision.patch_size) ** 2 * len(QUESTIONS)
        tiles = max(1, min(config.pack_tiles, config.pack_tokens // each))
        tokens_T = torch.full((tiles * each,), -1)
        labels_T = torch.arange(tiles * each) % model.num_labels
        # A question about words has no answer that is none.
        words = torch.arange(tiles * each) % len(QUESTIONS) >= len(QUESTIONS) - 2
        labels_T[words] = IGNORE
        return _pack(tokens_T, labels_T, [tiles], [tiles * each], side, -1, each)
    each, image = sizes.connector.tokens, sizes.image_token
    tiles = min(config.pack_tiles, config.pack_tokens // each)
    lengths, tile_counts, left = [], [], tiles
    room = config.pack_tokens
    while room:
        length = min(room, longest or room)
        fitting = min(left, length // each)
        lengths, tile_counts = [*lengths, length], [*tile_counts, fitting]
        room, left = room - length, left - fitting
    words_T = torch.arange(config.pack_tokens) % sizes.decoder.vocab_size
    words_T[words_T == image] = (image + 1) % sizes.decoder.vocab_size
    tokens_T, labels_T, start = words_T.clone(), words_T.clone(), 0
    for length, count in zip(lengths, tile_counts, strict=True):
        tokens_T[start : start + count * each] = image
        labels_T[start : start + count * each] = IGNORE
        start += length
    return _pack(tokens_T, labels_T, tile_counts, lengths, side, image, each)


def rehearse(model: nn.Module, optimizer: OptimizerSet, config: TrainConfig, longest: int | None = None) -> Rehearsal:
    """Forward and backward over ``largest_pack``; gradients are thrown away and no random number is taken.

    Every rank must call it: a sharded model gathers its weights on the way.

    Raises:
        MM15Error: it does not fit into memory; names the pack, what is there and what would help.
    """
    device = next(model.parameters()).device
    batch = largest_pack(model, config, longest)
    tokens, tiles = batch.tokens_T.numel(), batch.tiles_NCHW.shape[0]
    began = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    devices: Sequence[int] = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            output = model(batch.to(device))
            objective = loss_sums(output, batch.to(device), config.z_loss).objective / max(1, batch.num_targets)
            for routing in output.routing:
                objective = objective + routing.objective
            objective.backward()
            used, later = memory(device), _later(optimizer, config)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_memory(error):
            raise
        raise MM15Error(_told(tokens, tiles, device, str(error))) from error
    finally:
        optimizer.zero_grad()
    there = memory_there(device)
    if device.type == "cuda" and used["allocated"] + later > there:
        needed = f"{_gib(used['allocated'])} and then {_gib(later)} for the optimizer's averages"
        raise MM15Error(_told(tokens, tiles, device, f"it needs {needed}"))
    meet()
    return Rehearsal(tokens, tiles, time.perf_counter() - began, used, later)


def rehearse_small(
    model: nn.Module, optimizer: OptimizerSet, clock: StepClock, config: TrainConfig, sources: Sequence[str] = ()
) -> dict[str, float]:
    """Seconds by part of forward and backward over ``small_pack``: with a step's they tell what grows with a pack.

    Gradients are thrown away and no random number is taken. Every rank must call it.

    Args:
        sources: names of those whose losses are told in a step.
    """
    device = next(model.parameters()).device
    batch = small_pack(model.config, config, sources).to(device)  # type: ignore[arg-type]
    with torch.random.fork_rng([]):
        clock.start()
        output = model(batch)
        objective = loss_sums(output, batch, config.z_loss, sources).objective
        for routing in output.routing:
            objective = objective + routing.objective
        clock.lap("head")
        objective.backward()
        clock.lap_back()
        optimizer.zero_grad()
    return clock.read()


def small_pack(sizes: ModelConfig, config: TrainConfig, sources: Sequence[str] = ()) -> PackedBatch:
    """A quarter of the tokens and tiles that a pack may have, in two longer and two shorter samples, as attention works
    by samples of similar length; all words are trained."""
    each, image, side = sizes.connector.tokens, sizes.image_token, sizes.vision.image_size
    part = max(8, config.pack_tokens // 4) // 6
    lengths, left = [2 * part, 2 * part, part, part], config.pack_tiles // 4
    word = (image + 1) % sizes.decoder.vocab_size
    tile_counts, tokens = [], []
    for length in lengths:
        tile_counts.append(fitting := min(left, length // each))
        left -= fitting
        tokens += [image] * (fitting * each) + [word] * (length - fitting * each)
    tokens_T = torch.tensor(tokens)
    labels_T = torch.where(tokens_T == image, IGNORE, tokens_T)
    pack = _pack(tokens_T, labels_T, tile_counts, lengths, side, image, each)
    kind, source = CATEGORIES[0], sources[0] if sources else ""
    return replace(pack, categories=(kind,) * len(lengths), sources=(source,) * len(lengths))


def _pack(
    tokens_T: torch.Tensor,
    labels_T: torch.Tensor,
    tile_counts: list[int],
    lengths: list[int],
    side: int,
    image: int,
    each: int,
) -> PackedBatch:
    borders = [0]
    for length in lengths:
        borders.append(borders[-1] + length)
    return PackedBatch(
        tokens_T=tokens_T,
        labels_T=labels_T,
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        borders=tuple(borders),
        tiles_NCHW=torch.zeros(sum(tile_counts), 3, side, side, dtype=torch.uint8),
        tile_counts=tuple(tile_counts),
        image_token=image,
        tokens_per_tile=each,
        keys=tuple(f"rehearsal/{number}" for number in range(len(lengths))),
    )


def _later(optimizer: OptimizerSet, config: TrainConfig) -> int:
    """Bytes of averages that the optimizer has not made yet, at most."""
    if optimizer.state():
        return 0
    averages = {"adamw": 2, "muon": 2, "adafactor": 0 if config.optimizer.momentum is None else 1}
    sizes = [parameter.numel() * parameter.element_size() for parameter in optimizer.parameters]
    return averages[config.optimizer.kind] * sum(sizes)


def _is_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "not enough memory" in text


def _told(tokens: int, tiles: int, device: torch.device, reason: str) -> str:
    used = ", ".join(f"{name} {_gib(size)}" for name, size in memory(device).items())
    return (
        f"the largest pack of this recipe ({tokens:,} tokens, {tiles} tiles) does not fit into the memory of {device}"
        f": {_gib(memory_there(device))} are there, in use at most: {used}. {' '.join(reason.split())[:400]}. "
        "What helps: smaller train.pack_tokens or train.pack_tiles (with more train.accumulation the step stays as "
        "large), train.parallel.checkpointing=selective or full, train.parallel.shard=full over more ranks"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
