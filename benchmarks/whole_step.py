"""A whole supervised step, encoder and connector and decoder, beside transformers' LlavaNext and LlavaOnevision.

    python benchmarks/whole_step.py [--peer next|onevision] [--samples 16] [--rounds 7] [--threads 2] [--cpu-time]

Samples have the lengths and tiles of MM1.5's All mixture (``all_mixture.py``), scaled to a CPU: a tile is 84 px, 36
patches and 36 tokens, a quarter of 144, and so is every text; the last 40 % of a text have labels. Dimensions: encoder
width 256, 4 layers, 4 heads; connector of two linear layers (``mlp``); decoder width 256, 4 layers, 4 heads, 8192
words. Both sides have the same weights: theirs are random, ours read from them by the maps of our import. Both take the
same samples in one step (micro-batches of 8 there, packs of 1024 tokens and as many tiles as come here), divide by the
labels of the whole step, clip to 1 and move by fused AdamW; fp32.

The peers lay pictures out in another way: the overview is first, the tiles of a picture are one large grid of patches,
and a learned vector (``image_newline``) ends each of its rows. So

- gradient parity is shown on a picture of 3 x 1 tiles, where their order is tile after tile: our stream then holds an
  ordinary token, whose embedding is ``image_newline``, where theirs holds that vector, and every gradient must agree;
- the timed samples have equal tiles, equal texts and equal labels, without those tokens on our side; that costs us
  nothing but is counted for them, in the bound too. A picture's tiles form the squarest grid; the pictures of a sample
  with several are given to both sides as one picture of as many tiles (LlavaNext knows no picture of a single tile).

Real tokens are ours: texts and 36 for a tile. "bound": their FLOPs over ours, from padding, from the head at every
position and from the rows' ends. What we gain beyond it is overhead, not arithmetic.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

import all_mixture
from lm_step import CLIP, RATE, TEXT, about, clock_of, counted, difference, interleaved, our_backward, told
from mm15.base.batch import IGNORE, EncodedSample, PackedBatch, pack
from mm15.base.memory import keep_freed_memory
from mm15.base.torch_rng import torch_rng
from mm15.data.planner import pack_window
from mm15.interop.llm import llama, qwen2
from mm15.interop.names import entry, gather, prefixed
from mm15.interop.vision import clip, siglip
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import ConnectorConfig, ModelConfig, VisionConfig
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step

TILE, PATCH, GRID = 84, 14, 6
TOKENS = GRID**2
SCALE = all_mixture.TOKENS_PER_TILE // TOKENS
WIDTH, LAYERS, HEADS, VOCAB = 256, 4, 4, 8192
IMAGE, NEWLINE = 1, 2
LABELLED, BATCH, PACK = 0.4, 8, 1024
MOST_TILES = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """One sample: its tiles (the overview last) on a grid, and its text."""

    rows: int
    cols: int
    tiles_NCHW: Tensor
    text_T: Tensor
    labelled: int
    """Tokens at the end that are trained on."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A model of transformers, and by which maps its parts become ours."""

    model: Any
    vision: VisionConfig
    encoder: ModuleType
    llm: ModuleType


def mixture_samples(count: int) -> list[Picture]:
    mixture, costs = all_mixture.mixture(0, share=0.02)
    dice = torch_rng(0, "whole step")
    made = []
    for source, row in zip(*mixture.order(0, count), strict=True):
        tokens, tiles = (int(number) for number in costs[source][row])
        words = max((tokens - tiles * (all_mixture.TOKENS_PER_TILE + all_mixture.INDICATOR)) // SCALE, 8)
        made.append(picture(*squarest(tiles - 1), words, dice) if tiles else picture(0, 0, words, dice))
    return made


def squarest(tiles: int) -> tuple[int, int]:
    rows = next(rows for rows in range(math.isqrt(tiles), 0, -1) if tiles % rows == 0)
    return rows, tiles // rows


def picture(rows: int, cols: int, words: int, dice: torch.Generator) -> Picture:
    tiles = rows * cols + 1 if rows else 0
    pixels = torch.randint(0, 256, (tiles, 3, TILE, TILE), generator=dice, dtype=torch.uint8)
    text = torch.randint(3, VOCAB, (words,), generator=dice)
    return Picture(rows, cols, pixels, text, max(int(words * LABELLED), 1))


def encoded(sample: Picture, layout: Sequence[int], index: int) -> EncodedSample:
    """The image positions of ``layout``, then the text."""
    tokens_T = torch.cat([torch.tensor(layout, dtype=torch.long), sample.text_T])
    labels_T = torch.cat([tokens_T[1:], torch.tensor([IGNORE])])
    labels_T[: len(tokens_T) - 1 - sample.labelled] = IGNORE
    return EncodedSample(tokens_T, labels_T, sample.tiles_NCHW, str(index), "", TEXT)


def ours_of(samples: Sequence[Picture]) -> list[PackedBatch]:
    data = [encoded(sample, [IMAGE] * TOKENS * len(sample.tiles_NCHW), n) for n, sample in enumerate(samples)]
    load_N2 = np.array([[sample.num_tokens / PACK, 0.0] for sample in data])
    return [pack([data[index] for index in chosen], IMAGE, TOKENS) for chosen in pack_window(load_N2)]


def theirs_of(samples: Sequence[Picture], vision: VisionConfig) -> dict[str, Tensor | None]:
    """A padded micro-batch: overview first, a row's end after each row of patches."""
    rows = []
    for sample in samples:
        ends = GRID * sample.rows
        image = [IMAGE] * (TOKENS * len(sample.tiles_NCHW) + ends)
        ids = torch.cat([torch.tensor(image, dtype=torch.long), sample.text_T])
        labels = ids.clone()
        labels[: len(ids) - sample.labelled] = IGNORE
        rows.append((ids, labels))
    longest = max(len(ids) for ids, _ in rows)
    shape = (len(rows), longest)
    batch = {"input_ids": torch.zeros(shape, dtype=torch.long), "attention_mask": torch.zeros(shape, dtype=torch.long)}
    batch["labels"] = torch.full(shape, IGNORE)
    for number, (ids, labels) in enumerate(rows):
        batch["input_ids"][number, : len(ids)] = ids
        batch["labels"][number, : len(ids)] = labels
        batch["attention_mask"][number, : len(ids)] = 1
    shown = [sample for sample in samples if sample.rows]
    if not shown:
        return dict(batch)
    most = max(len(sample.tiles_NCHW) for sample in shown)
    pixels = torch.zeros(len(shown), most, 3, TILE, TILE)
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (vision.mean, vision.std))
    for number, sample in enumerate(shown):
        whole_first = torch.cat([sample.tiles_NCHW[-1:], sample.tiles_NCHW[:-1]])
        pixels[number, : len(whole_first)] = (whole_first - mean) / std
    sizes = torch.tensor([[sample.rows * TILE, sample.cols * TILE] for sample in shown])
    return {**batch, "pixel_values": pixels, "image_sizes": sizes}


def peer(kind: str) -> Peer:
    torch.manual_seed(0)  # transformers draws its weights from the global generator
    tower: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "image_size": TILE,
        "patch_size": PATCH,
    }
    words: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 704,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
    }
    pinpoints = [[r * TILE, c * TILE] for r, c in {squarest(n) for n in range(1, MOST_TILES)} | {(3, 1)}]
    more: dict[str, Any] = {
        "image_grid_pinpoints": pinpoints,
        "image_token_index": IMAGE,
        "image_token_id": IMAGE,
        "vision_feature_layer": -1,
        "tie_word_embeddings": False,
    }
    if kind == "next":
        config = LlavaNextConfig(vision_config=CLIPVisionConfig(**tower), text_config=LlamaConfig(**words), **more)
        model = LlavaNextForConditionalGeneration(config)
        encoder, llm = clip, llama
        vision = clip.read_config({"vision_config": tower}, {})
    else:
        eyes, text = SiglipVisionConfig(vision_use_head=False, **tower), Qwen2Config(**words)
        config = LlavaOnevisionConfig(vision_config=eyes, text_config=text, **more)
        model = LlavaOnevisionForConditionalGeneration(config)
        encoder, llm = siglip, qwen2
        # They read the last layer before its final norm, which therefore is no part of either side.
        vision = siglip.read_config({"vision_config": tower}, {}).model_copy(update={"final_norm": False})
    return Peer(model, vision, encoder, llm)


def imported(theirs: Peer) -> tuple[MultimodalModel, Callable[[], dict[str, Tensor]]]:
    """Our model with the peer's weights, and the peer's gradients by our names."""
    raw = theirs.model.config.text_config.to_dict() | {"tie_word_embeddings": False}
    decoder = theirs.llm.read_config(raw)
    config = ModelConfig(
        vision=theirs.vision,
        connector=ConnectorConfig(kind="mlp", tokens=TOKENS),
        decoder=decoder,
        image_token=IMAGE,
    )
    vision = prefixed(theirs.encoder.entries(theirs.vision), "vision.", lambda name: f"vision_tower.{name}")
    words = prefixed(
        theirs.llm.entries(decoder), "decoder.", lambda name: f"language_model.{name.removeprefix('model.')}"
    )
    bridge = [
        entry(f"connector.{mine}.{part}", shape, f"multi_modal_projector.{name}.{part}")
        for mine, name in (("first", "linear_1"), ("second", "linear_2"))
        for part, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    ]
    entries = [*vision, *bridge, *words]
    named = {_bare(name): parameter for name, parameter in theirs.model.named_parameters()}
    model = MultimodalModel(config)
    model.load_state_dict(dict(gather(entries, lambda name: named[_bare(name)].detach())))

    def grads() -> dict[str, Tensor]:
        return dict(gather(entries, lambda name: named[_bare(name)].grad))

    return model, grads


def _bare(name: str) -> str:
    """A name without the containers that differ between a whole model and a file of a part."""
    for part in ("model.", "vision_model."):
        name = name.replace(part, "")
    return name.replace("language_lm_head", "lm_head").replace("language_model.lm_head", "lm_head")


def their_backward(model: Any, batches: Sequence[dict[str, Tensor | None]], targets: int) -> None:
    for batch in batches:
        model(**batch, num_items_in_batch=targets).loss.backward()


def parity(theirs: Peer, ours: MultimodalModel, grads: Callable[[], dict[str, Tensor]]) -> float:
    """Largest relative difference of gradients on one picture of 3 x 1 tiles, laid out as the peer does."""
    sample = picture(3, 1, 40, torch_rng(0, "parity"))
    newline = theirs.model.model.image_newline
    with torch.no_grad():
        newline.copy_(ours.decoder.embedding.weight[NEWLINE])
    layout = [IMAGE] * TOKENS + ([IMAGE] * GRID + [NEWLINE]) * (GRID * sample.rows)
    whole_first = torch.cat([sample.tiles_NCHW[-1:], sample.tiles_NCHW[:-1]])
    laid = Picture(sample.rows, sample.cols, whole_first, sample.text_T, sample.labelled)
    our_backward(ours, [pack([encoded(laid, layout, 0)], IMAGE, TOKENS)], sample.labelled)
    their_backward(theirs.model, [theirs_of([sample], theirs.vision)], sample.labelled)
    expected = grads()
    expected["decoder.embedding.weight"][NEWLINE] += newline.grad
    worst = difference(ours, expected)
    ours.zero_grad()
    theirs.model.zero_grad()
    return worst


def compare(kind: str, samples: Sequence[Picture], packs: Sequence[PackedBatch], arguments: argparse.Namespace) -> None:
    """One peer beside us: gradients first, then the bound by operations, then the clock."""
    tokens, tiles = sum(len(p.tokens_T) for p in packs), sum(len(p.tiles_NCHW) for p in packs)
    targets = sum(sample.labelled for sample in samples)
    theirs = peer(kind)
    ours, grads = imported(theirs)
    name = type(theirs.model).__name__.removesuffix("ForConditionalGeneration")
    print(f"gradients, mm15 against {name} (one picture of 3 x 1 tiles): {parity(theirs, ours, grads):.1e}")
    batches = [theirs_of(samples[start : start + BATCH], theirs.vision) for start in range(0, len(samples), BATCH)]
    their_positions = sum(batch["input_ids"].numel() for batch in batches)
    print(
        f"{len(samples)} samples, {tiles} tiles, {tokens} tokens, {targets} labels a step; "
        f"{their_positions} positions there ({tokens / their_positions:.0%} real)",
        flush=True,
    )
    their_flops = counted(lambda: their_backward(theirs.model, batches, targets))
    bound = their_flops / counted(lambda: our_backward(ours, packs, targets))
    theirs.model.zero_grad()
    ours.zero_grad()
    optimizer = build_optimizer(ours, OptimizerConfig(lr=RATE))
    their_optimizer = torch.optim.AdamW(
        theirs.model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )

    def our_step() -> None:
        train_step(ours, optimizer, packs, CLIP)

    def their_step() -> None:
        their_backward(theirs.model, batches, targets)
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), CLIP)
        their_optimizer.step()
        their_optimizer.zero_grad()

    sides = {"mm15": our_step, name: their_step}
    told(interleaved(sides, arguments.rounds, clock_of(arguments)), tokens, {name: bound})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=("next", "onevision"), action="append")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, for busy machines")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # of the whole process: both sides gain
    print(about(arguments.threads), "CPU time" if arguments.cpu_time else "wall time")
    samples = mixture_samples(arguments.samples)
    packs = ours_of(samples)
    for kind in arguments.peer or ("next", "onevision"):
        compare(kind, samples, packs, arguments)


if __name__ == "__main__":
    main()
