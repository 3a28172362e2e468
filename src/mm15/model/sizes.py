"""Typed sizes of the model: encoder, connector, decoder, and the named combinations."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from mm15.base.config import Strict

Activation = Literal["quick_gelu", "gelu_tanh", "gelu"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


class VisionConfig(Strict):
    """A vision transformer over square tiles.

    CLIP: ``class_token``, ``pre_norm``, no ``patch_bias``, no ``final_norm`` on patch features, ``norm_eps`` 1e-5.
    SigLIP: the opposite of each, ``gelu_tanh`` and ``norm_eps`` 1e-6.
    """

    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp_width: int = Field(gt=0)
    activation: Activation = "gelu"
    class_token: bool = False
    pre_norm: bool = False
    patch_bias: bool = True
    final_norm: bool = True
    norm_eps: float = Field(default=1e-6, gt=0)
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def grid(self) -> int:
        """Patches along one side of a tile."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of a tile: the length of its feature sequence."""
        return self.grid**2


class ConnectorConfig(Strict):
    """How the patches of a tile become ``tokens`` decoder inputs.

    ``depth`` is bottlenecks per stage (c-abstractor only), ``hidden`` the width inside (c-abstractor and attention),
    ``mlp_depth`` the linear layers of the read-out, ``heads`` those of the attention pool. The kinds ``mlp`` (a patch
    is a token) and ``pixel-shuffle`` (a square of patches is a token) have nothing to choose but ``tokens``.
    """

    kind: Literal["c-abstractor", "average", "attention", "mlp", "pixel-shuffle"] = "c-abstractor"
    tokens: int = Field(gt=0)
    hidden: int = Field(default=1024, gt=0)
    depth: int = Field(default=3, ge=0)
    mlp_depth: int = Field(default=2, ge=1)
    pre_norm: bool = False
    heads: int = Field(default=8, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "attention" and math.isqrt(self.tokens) ** 2 != self.tokens:
            raise ValueError(f"tokens {self.tokens} must be a perfect square for kind '{self.kind}'")
        if self.kind == "attention" and self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


class RopeScaling(Strict):
    """How rotary angles are stretched for contexts beyond those of pre-training (``model/rope.py`` has the formulas).

    ``original_positions`` is the length of pre-training (llama3, yarn); ``low_freq_factor`` and ``high_freq_factor``
    are llama3's, what follows is yarn's. ``attention_factor`` multiplies cos and sin.
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: float = Field(gt=0)
    original_positions: int = Field(default=0, ge=0)
    low_freq_factor: float = Field(default=1.0, gt=0)
    high_freq_factor: float = Field(default=4.0, gt=0)
    beta_fast: float = Field(default=32.0, gt=0)
    beta_slow: float = Field(default=1.0, gt=0)
    truncate: bool = True
    attention_factor: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "linear" and not self.original_positions:
            raise ValueError(f"kind '{self.kind}' needs original_positions, the context length of pre-training")
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise ValueError("high_freq_factor must be larger than low_freq_factor")
        return self


class MoEConfig(Strict):
    """Experts in place of every ``every``-th feed-forward network, beginning with the ``every``-th (MM1, section 4).

    ``capacity`` is a factor on rows / experts: that many rows of a pack an expert takes in training, later ones are
    dropped; None drops nothing, and without gradients nothing is ever dropped. ``mlp_width`` is an expert's inner width
    where it is not the dense network's. ``renormalise``: the gates of the chosen experts sum to 1. ``balance_loss`` and
    ``z_loss`` are the weights of the two auxiliary losses, which every such layer adds.
    """

    experts: int = Field(ge=2)
    top_k: int = Field(default=2, ge=1)
    every: int = Field(default=2, ge=1)
    mlp_width: int | None = Field(default=None, gt=0)
    renormalise: bool = True
    capacity: float | None = Field(default=None, gt=0)
    balance_loss: float = Field(default=0.01, ge=0)
    z_loss: float = Field(default=0.001, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} is more than the {self.experts} experts")
        return self

    def in_layer(self, layer: int) -> bool:
        """Whether layer number ``layer`` (from 0) has experts."""
        return (layer + 1) % self.every == 0


class DecoderConfig(Strict):
    """A causal language model of the Llama family.

    ``qkv_bias``: Qwen2; ``qk_norm``: Qwen3 (over each head), or OLMo (``qk_norm_over`` all heads together);
    ``norm_order`` after: OLMo-2 (x + norm(f(x)) instead of x + f(norm(x))); ``window``: Mistral 7B v0.1, a position
    sees itself and the ``window - 1`` before it; ``out_bias`` (of attention's output) and ``mlp_bias``: some Llamas;
    ``moe``: Qwen3-MoE, OLMoE.
    """

    vocab_size: int = Field(gt=0)
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0, multiple_of=2)
    mlp_width: int = Field(gt=0)
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)
    qkv_bias: bool = False
    qk_norm: bool = False
    qk_norm_over: Literal["head", "all"] = "head"
    out_bias: bool = False
    mlp_bias: bool = False
    norm_order: Literal["before", "after"] = "before"
    rope_scaling: RopeScaling | None = None
    window: int | None = Field(default=None, gt=0)
    tied_head: bool = True
    moe: MoEConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.moe and self.moe.every > self.layers:
            raise ValueError(f"moe.every {self.moe.every} leaves no layer of {self.layers} with experts")
        return self


class ModelConfig(Strict):
    """Encoder, connector and decoder, and the token id whose positions hold image features."""

    vision: VisionConfig
    connector: ConnectorConfig
    decoder: DecoderConfig
    image_token: int = Field(ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.image_token >= self.decoder.vocab_size:
            raise ValueError(f"image_token {self.image_token} is outside the vocabulary of {self.decoder.vocab_size}")
        connector, patches = self.connector, self.vision.num_patches
        if connector.kind == "mlp" and connector.tokens != patches:
            raise ValueError(
                f"connector 'mlp' makes a token of each of the {patches} patches, tokens {connector.tokens}"
            )
        if connector.kind == "pixel-shuffle" and self.vision.grid % math.isqrt(connector.tokens):
            raise ValueError(
                f"connector 'pixel-shuffle' takes squares of patches: tokens {connector.tokens} must be the "
                f"square of a divisor of {self.vision.grid}, the patches along a tile's side"
            )
        return self


def with_vocab(config: ModelConfig, vocab_size: int, image_token: int) -> ModelConfig:
    """The same model for another tokenizer."""
    raw = config.model_dump()
    raw["decoder"]["vocab_size"] = vocab_size
    raw["image_token"] = image_token
    return ModelConfig.model_validate(raw)


def with_experts(config: ModelConfig, moe: MoEConfig) -> ModelConfig:
    """The same model with experts in its decoder."""
    raw = config.model_dump()
    raw["decoder"]["moe"] = moe.model_dump()
    return ModelConfig.model_validate(raw)


def dfn_vit_h14(image_size: int = 378) -> VisionConfig:
    """DFN5B-CLIP ViT-H/14, the encoder of MM1 and MM1.5; 378 px in pre-training, 672 px afterwards."""
    return VisionConfig(
        image_size=image_size,
        patch_size=14,
        width=1280,
        layers=32,
        heads=16,
        mlp_width=5120,
        activation="quick_gelu",
        class_token=True,
        pre_norm=True,
        patch_bias=False,
        final_norm=False,
        norm_eps=1e-5,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    )


def siglip_so400m14(image_size: int = 378) -> VisionConfig:
    """SigLIP so400m/14: the same 27 × 27 and 48 × 48 grids under a freer licence."""
    return VisionConfig(
        image_size=image_size,
        patch_size=14,
        width=1152,
        layers=27,
        heads=16,
        mlp_width=4304,
        activation="gelu_tanh",
    )


def paper_size(
    width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, moe: MoEConfig | None
) -> ModelConfig:
    """A member of the papers' family: DFN ViT-H/14, C-Abstractor with 144 tokens, and a decoder.

    Published are encoder, connector, tokens per tile, the sizes of the decoders (1.2B, 2.9B, 6.4B, 30B; here without
    embeddings) and of their mixtures of experts (3B: 64B, 7B: 47B). Widths, depths, heads, vocabulary, rotation and
    norms are not: those are ours, chosen so that these sizes come out.
    """
    decoder = DecoderConfig(
        vocab_size=PAPER_VOCAB,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128,
        mlp_width=mlp_width,
        rope_theta=1e6,
        qk_norm=True,
        moe=moe,
    )
    return ModelConfig(vision=dfn_vit_h14(), connector=ConnectorConfig(tokens=144), decoder=decoder, image_token=1)


PAPER_VOCAB = 100_352
"""Rows of the word table before a tokenizer is known. The papers' tokenizer is not published; this is OLMo 2's."""
EXPERTS_64 = MoEConfig(experts=64, every=2, capacity=2.0)
"""MM1.5's 1B-MoE and 3B-MoE; the capacity factor is AXLearn's default."""
EXPERTS_32 = MoEConfig(experts=32, every=4, capacity=2.0)
"""MM1's 7B-MoE."""

MINI = ModelConfig(
    vision=VisionConfig(image_size=64, patch_size=8, width=96, layers=3, heads=3, mlp_width=384),
    connector=ConnectorConfig(tokens=16, hidden=96, depth=1),
    decoder=DecoderConfig(
        vocab_size=256,
        width=128,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=64,
        mlp_width=352,
        rope_theta=1e6,
        qk_norm=True,
    ),
    image_token=1,
)

SIZES: dict[str, ModelConfig] = {
    "mini": MINI,
    "mini-moe": with_experts(MINI, MoEConfig(experts=8, every=2, capacity=2.0)),
    "debug": ModelConfig(
        vision=VisionConfig(image_size=16, patch_size=4, width=32, layers=2, heads=2, mlp_width=64),
        connector=ConnectorConfig(tokens=4, hidden=24, depth=1),
        decoder=DecoderConfig(
            vocab_size=64, width=48, layers=2, heads=4, kv_heads=2, head_dim=16, mlp_width=80, qk_norm=True
        ),
        image_token=1,
    ),
    "1b": paper_size(2048, 24, 16, 16, 5376, None),
    "3b": paper_size(2560, 36, 20, 20, 7040, None),
    "7b": paper_size(4096, 32, 32, 4, 13_184, None),
    "30b": paper_size(7168, 48, 56, 8, 23_552, None),
    "1b-moe": paper_size(2048, 24, 16, 16, 5376, EXPERTS_64),
    "3b-moe": paper_size(2560, 36, 20, 20, 7040, EXPERTS_64),
    "7b-moe": paper_size(4096, 32, 32, 4, 13_184, EXPERTS_32),
}
"""Whole models by name. ``with_vocab`` gives them the vocabulary of a tokenizer."""
