"""A training step of the language model alone, at natural lengths: our packs beside transformers' padded batches.

    python benchmarks/lm_step.py [--shape small|large] [--samples 24] [--rounds 7] [--threads 2] [--cpu-time]

Both sides have the same weights (a random Llama of transformers, read by our import), take the same samples in one
optimizer step (micro-batches of 8 there, packs of 2048 tokens here), divide the summed loss by the labels of the whole
step, clip to 1 and move by fused AdamW; fp32. Lengths are lognormal (median 181, sigma 0.8, at most 1024), 60 % of the
labels masked. "grouped" has the step's samples sorted by length before they are cut into batches, which is the best
that length grouping can do. What counts is real tokens per second; padding does not.

Before anything is timed the gradients of the whole step are compared, tensor by tensor: the largest difference over the
tensor's largest entry. Sides are interleaved; told are medians and ranges, and the ratio of medians.

"bound" is what the peer's own arithmetic would leave if it cost what ours costs: its FLOPs (padded positions, a head at
every position) over ours.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from mm15.base.batch import IGNORE, EncodedSample, PackedBatch, pack
from mm15.base.memory import keep_freed_memory
from mm15.base.rng import numpy_rng
from mm15.base.torch_rng import torch_rng
from mm15.base.types import Category
from mm15.data.planner import pack_window
from mm15.interop.checkpoint import open_llm
from mm15.interop.names import gather
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, ModelConfig
from mm15.train.loss import loss_sums
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step

SHAPES = {"small": (256, 6, 4, 704), "large": (512, 8, 8, 1408)}
"""Width, layers, heads, inner width."""
VOCAB, LONGEST, BATCH, PACK, IMAGE, MASKED = 32_000, 1024, 8, 2048, 1, 0.6
TEXT = Category.TEXT_ONLY.value
RATE, CLIP = 1e-4, 1.0


@dataclass(frozen=True, slots=True)
class Padded:
    """A micro-batch as transformers takes it."""

    ids: Tensor
    mask: Tensor
    labels: Tensor


def samples(count: int) -> list[EncodedSample]:
    rng, dice = numpy_rng(0, "lm step"), torch_rng(0, "lm step")
    made = []
    for index, length in enumerate(np.clip(np.exp(rng.normal(5.2, 0.8, count)).astype(int), 8, LONGEST)):
        tokens_T = torch.randint(2, VOCAB, (int(length),), generator=dice)
        labels_T = torch.cat([tokens_T[1:], torch.tensor([IGNORE])])
        labels_T[torch.rand(len(labels_T), generator=dice) < MASKED] = IGNORE
        made.append(
            EncodedSample(tokens_T, labels_T, torch.zeros(0, 3, 16, 16, dtype=torch.uint8), str(index), "", TEXT)
        )
    return made


def peer(shape: str) -> LlamaForCausalLM:
    width, layers, heads, inner = SHAPES[shape]
    torch.manual_seed(0)  # transformers draws its weights from the global generator
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            tie_word_embeddings=True,
        )
    )


def imported(theirs: LlamaForCausalLM) -> tuple[MultimodalModel, Callable[[], dict[str, Tensor]]]:
    """Our model with the peer's weights, by our import; and the peer's gradients by our names."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        saved = open_llm(folder)
        debug = SIZES["debug"]
        config = ModelConfig(vision=debug.vision, connector=debug.connector, decoder=saved.config, image_token=IMAGE)
        model = MultimodalModel(config)
        model.init_weights(0)
        model.decoder.load_state_dict(dict(saved.state()))
    entries = saved.entries

    def grads() -> dict[str, Tensor]:
        theirs_by_name: dict[str, Any] = {name.removeprefix("model."): p.grad for name, p in theirs.named_parameters()}
        return dict(gather(entries, lambda name: theirs_by_name[name.removeprefix("model.")]))

    return model, grads


def padded(data: Sequence[EncodedSample]) -> list[Padded]:
    batches = []
    for start in range(0, len(data), BATCH):
        group = data[start : start + BATCH]
        longest = max(sample.num_tokens for sample in group)
        ids, mask = (torch.zeros(len(group), longest, dtype=torch.long) for _ in range(2))
        labels = torch.full((len(group), longest), IGNORE)
        for row, sample in enumerate(group):
            ids[row, : sample.num_tokens] = sample.tokens_T
            labels[row, 1 : sample.num_tokens] = sample.labels_T[:-1]  # transformers shifts by itself
            mask[row, : sample.num_tokens] = 1
        batches.append(Padded(ids, mask, labels))
    return batches


def packed(data: Sequence[EncodedSample]) -> list[PackedBatch]:
    load_N2 = np.array([[sample.num_tokens / PACK, 0.0] for sample in data])
    tokens = SIZES["debug"].connector.tokens
    return [pack([data[index] for index in chosen], IMAGE, tokens) for chosen in pack_window(load_N2)]


def their_backward(model: LlamaForCausalLM, batches: Iterable[Padded], targets: int) -> None:
    for batch in batches:
        out = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels, num_items_in_batch=targets)
        out.loss.backward()


def our_backward(model: MultimodalModel, batches: Iterable[PackedBatch], targets: int) -> None:
    for batch in batches:
        (loss_sums(model(batch), batch).objective / targets).backward()


def difference(ours: nn.Module, theirs: dict[str, Tensor]) -> float:
    """Largest difference of any gradient, over the largest entry of its tensor."""
    worst = 0.0
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        worst = max(worst, float((parameter.grad - theirs[name]).abs().max() / theirs[name].abs().max()))
    return worst


def their_step(model: LlamaForCausalLM, batches: Sequence[Padded], targets: int) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def step() -> None:
        their_backward(model, batches, targets)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    return step


def counted(run: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def interleaved(
    sides: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every side in every round; rounds are told on stderr as they end."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            began = clock()
            run()
            if number:  # the first round warms up
                seconds[name].append(clock() - began)
        if number:
            print(
                number, *(f"{name} {values[-1]:.2f} s" for name, values in seconds.items()), sep="  ", file=sys.stderr
            )
    return seconds


def clock_of(arguments: argparse.Namespace) -> Callable[[], float]:
    """On a busy machine the process's own CPU time tells more than the wall's; it is the same with one thread only.

    Raises:
        SystemExit: CPU time of several threads is no time that anybody waits.
    """
    if arguments.cpu_time and arguments.threads != 1:
        raise SystemExit("--cpu-time needs --threads 1")
    return time.process_time if arguments.cpu_time else time.perf_counter


def told(seconds: dict[str, list[float]], tokens: int, bounds: dict[str, float]) -> None:
    """One line a side: real tokens per second, and how much quicker the first side is."""
    base = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        ratios = [value / ours for value, ours in zip(values, next(iter(seconds.values())), strict=True)]
        bound = f"   bound {bounds[name]:.2f}x, {median / base / bounds[name]:.0%} of it" if name in bounds else ""
        print(
            f"{name:<24} {tokens / median:>7,.0f} real tokens/s "
            f"({tokens / max(values):,.0f}–{tokens / min(values):,.0f})   "
            f"mm15 is {median / base:.2f}x ({min(ratios):.2f}–{max(ratios):.2f} by round)   n={len(values)}{bound}",
            flush=True,
        )


def about(threads: int) -> str:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{platform.processor() or platform.machine()}, {threads} threads of {os.cpu_count()} cores, load {load:.1f}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, fp32"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, for busy machines")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # of the whole process: both sides gain
    data = samples(arguments.samples)
    tokens = sum(sample.num_tokens for sample in data)
    targets = sum(int((sample.labels_T != IGNORE).sum()) for sample in data)
    orders = {"padded": padded(data), "grouped": padded(sorted(data, key=lambda sample: sample.num_tokens))}
    packs = packed(data)
    theirs = peer(arguments.shape)
    ours, their_grads = imported(theirs)

    our_flops = counted(lambda: our_backward(ours, packs, targets))
    bounds = {}
    for name, batches in orders.items():
        theirs.zero_grad()
        flops = counted(lambda batches=batches: their_backward(theirs, batches, targets))
        bounds[f"transformers {name}"] = flops / our_flops
        print(f"gradients, mm15 against transformers {name}: {difference(ours.decoder, their_grads()):.1e}", flush=True)
    theirs.zero_grad()
    ours.zero_grad()

    print(about(arguments.threads), "CPU time" if arguments.cpu_time else "wall time")
    width, layers, _, _ = SHAPES[arguments.shape]
    fills = ", ".join(
        f"{name} {tokens / sum(batch.ids.numel() for batch in batches):.0%}" for name, batches in orders.items()
    )
    print(f"D{width} L{layers} V{VOCAB}, {len(data)} samples, {tokens} tokens, {targets} labels a step; fill: {fills}")
    frozen = OptimizerConfig(lr=RATE, lr_scale={"vision": 0, "connector": 0})
    optimizer = build_optimizer(ours, frozen)
    sides: dict[str, Callable[[], None]] = {"mm15 packed": lambda: _step(ours, optimizer, packs)}
    sides |= {f"transformers {name}": their_step(theirs, batches, targets) for name, batches in orders.items()}
    told(interleaved(sides, arguments.rounds, clock_of(arguments)), tokens, bounds)


def _step(model: MultimodalModel, optimizer: object, packs: Sequence[PackedBatch]) -> None:
    train_step(model, optimizer, packs, CLIP)


if __name__ == "__main__":
    main()
