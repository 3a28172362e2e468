"""Sparse upcycling (arXiv 2212.05055): every expert starts as the trained dense network.

The gates of the chosen experts sum to 1, so the new model says what the dense one said, until training makes its
experts differ. Routers start at random, near-equal chances.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mm15.base.batch import EncodedSample, pack
from mm15.base.errors import ConfigError, MM15Error
from mm15.base.torch_rng import torch_rng
from mm15.bundle import load_bundle, save_bundle
from mm15.model.flops import weigh
from mm15.model.moe import Router
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import MoEConfig, with_experts

PROBE = 48
"""Random words on which both models are compared."""
TOLERANCE = 1e-3
"""Largest difference of logits that rounding may make, over the largest logit."""


@dataclass(frozen=True, slots=True)
class Upcycled:
    """What was made. ``difference``: the largest between logits of both models on random words."""

    folder: str
    experts: int
    layers: tuple[int, ...]
    """Numbers, from 0, of the layers that have experts now."""
    parameters: int
    active: int
    difference: float


def upcycle_bundle(bundle: str | Path, out: str | Path, moe: MoEConfig, seed: int = 0) -> Upcycled:
    """A bundle with a dense decoder in, one with experts out, compared before it is written.

    Raises:
        BundleError: the bundle is wrong.
        ConfigError: its decoder has experts already, too few layers, or the gates would not sum to 1.
        MM15Error: the two models say different things.
    """
    loaded = load_bundle(bundle)
    model = upcycle(loaded.model, moe, seed)
    difference, scale = compare(loaded.model, model, seed)
    if not difference <= TOLERANCE * scale:
        raise MM15Error(
            f"upcycling {bundle}: logits differ by {difference:.3g} (largest logit {scale:.3g}); nothing was written. "
            "The weights may hold NaN or Inf: evaluate the bundle first"
        )
    extra = {**loaded.extra, "upcycled": {"from": str(bundle), "seed": seed, **moe.model_dump()}}
    save_bundle(out, model, loaded.processor, loaded.recipe or None, extra)
    weight, layers = weigh(model), range(model.config.decoder.layers)
    return Upcycled(
        folder=str(out),
        experts=moe.experts,
        layers=tuple(layer for layer in layers if moe.in_layer(layer)),
        parameters=weight.total,
        active=weight.active,
        difference=difference,
    )


def upcycle(model: MultimodalModel, moe: MoEConfig, seed: int = 0) -> MultimodalModel:
    """The same model with experts: copies of its feed-forward networks, and routers drawn from the seed.

    Raises:
        ConfigError: the decoder has experts already, too few layers for ``moe.every``, or the gates would not sum to 1.
    """
    problems = []
    decoder = model.config.decoder
    if decoder.moe is not None:
        problems.append(f"the decoder has {decoder.moe.experts} experts already; upcycle a dense model")
    if moe.every > decoder.layers:
        problems.append(f"every {moe.every} leaves no layer of {decoder.layers} with experts")
    if not moe.renormalise:
        problems.append("renormalise must be on: with gates that do not sum to 1 the model would say something else")
    if moe.mlp_width not in (None, decoder.mlp_width):
        problems.append(f"mlp_width {moe.mlp_width} is not the dense network's {decoder.mlp_width}: leave it out")
    if problems:
        raise ConfigError(problems, "upcycling")
    with torch.device("meta"):
        sparse = MultimodalModel(with_experts(model.config, moe), model.compute_dtype)
    dense = model.state_dict()
    state: dict[str, Tensor] = {}
    for name, wanted in sparse.state_dict().items():
        if name not in dense:  # a router, drawn below
            like = dense["decoder.final_norm.weight"]
            state[name] = torch.empty(wanted.shape, dtype=like.dtype, device=like.device)
        elif wanted.ndim > dense[name].ndim:
            state[name] = dense[name][None].repeat(len(wanted), 1, 1)
        else:
            state[name] = dense[name].clone()
    sparse.load_state_dict(state, strict=True, assign=True)
    for layer, block in enumerate(sparse.decoder.blocks):
        if moe.in_layer(layer):
            router = block.mlp.router  # type: ignore[union-attr]
            assert isinstance(router, Router)
            with torch.no_grad():
                router.start(torch_rng(seed, "upcycling", layer, device=str(router.weight.device)))
    return sparse


@torch.no_grad()
def compare(dense: MultimodalModel, sparse: MultimodalModel, seed: int = 0) -> tuple[float, float]:
    """(largest difference of logits, largest logit) on random words."""
    config = dense.config
    generator = torch_rng(seed, "upcycling")
    words = torch.randint(config.decoder.vocab_size, (PROBE,), generator=generator)
    words = torch.where(words == config.image_token, (words + 1) % config.decoder.vocab_size, words)
    size = config.vision.image_size
    sample = EncodedSample(words, words.roll(-1), torch.zeros(0, 3, size, size, dtype=torch.uint8), "probe", "", "")
    batch = pack([sample], config.image_token, config.connector.tokens).to(dense.decoder.embedding.weight.device)
    expected, found = dense(batch).logits_LV.float(), sparse(batch).logits_LV.float()
    return float((expected - found).abs().max()), float(expected.abs().max())
