"""What a training run is told: optimizer, schedule, length, budgets. Strict configs, part of every recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from mm15.base.catalogue import did_you_mean, names
from mm15.base.config import Strict
from mm15.train.parallel_config import ParallelConfig


class OptimizerConfig(Strict):
    """Which optimizer, at which peak rates.

    ``weight_decay`` is decoupled and multiplied by the rate, as in ``torch.optim.AdamW``: w ← w·(1 − lr·weight_decay).
    MM1's "wd = 0.1·η" is the same thing written for the absolute decay λ of Loshchilov & Hutter (w ← w·(1 − λ)), so it
    reads ``weight_decay: 0.1`` here. Norms, biases, embeddings, the head and position tables never decay.
    """

    kind: Literal["adamw", "adafactor", "muon"] = "adamw"
    lr: PositiveFloat | Literal["mm1-law"] = 1e-3
    """Peak rate. ``mm1-law``: exp(−0.4214 ln N − 0.5535), N = the decoder's parameters without embeddings (MM1)."""
    muon_lr: PositiveFloat | None = None
    """Peak rate of the matrices under ``muon`` (default: ``lr``); the other parameters take ``lr`` by AdamW."""
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's two averages."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Muon's momentum (default 0.95) or AdaFactor's first average (default: none)."""
    eps: PositiveFloat = 1e-8
    clip: PositiveFloat = 1.0
    """Largest global gradient norm."""
    lr_scale: dict[str, float] = Field(default_factory=dict)
    """Factor on the rate by start of the parameter name (``vision``, ``connector``, ``decoder`` …; the longest wins);
    0 freezes that part."""

    @model_validator(mode="after")
    def _consistent(self) -> OptimizerConfig:
        if self.muon_lr is not None and self.kind != "muon":
            raise ValueError(f"muon_lr needs kind: muon, not {self.kind}")
        if self.momentum is not None and self.kind == "adamw":
            raise ValueError("momentum is for muon and adafactor; adamw takes betas")
        for name, value in zip(("betas.0", "betas.1"), self.betas, strict=True):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), found {value}")
        for name, scale in self.lr_scale.items():
            if scale < 0:
                raise ValueError(f"lr_scale.{name} must not be negative, found {scale}")
        return self


class ScheduleConfig(Strict):
    """Factor on the peak rate: a linear warm-up, then ``cosine`` down to ``final``, or ``constant``.

    MM1 pre-training: ``{warmup: 2000, final: 0.1}``; MM1.5 stages 2 and 3: ``{warmup: 0.03, final: 0}``.
    """

    kind: Literal["cosine", "constant"] = "cosine"
    warmup: int | float = Field(default=0.03, ge=0)
    """Whole number: steps. Below 1: share of all steps."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Factor that cosine reaches after the last step."""

    @model_validator(mode="after")
    def _whole_steps(self) -> ScheduleConfig:
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise ValueError(f"warmup is a share below 1 or a whole number of steps, found {self.warmup}")
        return self


class LoraConfig(Strict):
    """Train adapters of low rank instead of the weights (``model.lora``).

    Only adapters are trained, and the parts that ``optimizer.lr_scale`` names with a factor above 0, as wholes: so
    ``lr_scale: {connector: 1}`` trains the connector beside the adapters of the decoder. Dropout stays 0.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32
    """The adapter counts alpha / rank times."""
    targets: list[str] = Field(default=["decoder"], min_length=1)
    """Starts of module names, or patterns with ``*``, whose linear layers get an adapter."""


class TrainConfig(Strict):
    """One stage. A step is ``accumulation`` packs, counted over all ranks, so that the number of ranks changes nothing;
    a pack holds at most ``pack_tokens`` and ``pack_tiles``."""

    steps: PositiveInt
    accumulation: PositiveInt = 1
    pack_tokens: PositiveInt = 4096
    pack_tiles: PositiveInt = 32
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    lora: LoraConfig | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the mathematics; parameters stay fp32. ``auto``: bf16 where the device multiplies it natively, else fp32."""
    parallel: ParallelConfig = ParallelConfig()
    """How model and packs are spread over ranks."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of mean(log²Z) over labelled positions; MM1 needed 1e-4 at 30B."""
    save_every: PositiveInt = 1000
    keep: int = Field(default=2, ge=2)
    """Checkpoints kept; two at least, so that a damaged newest one has a predecessor."""
    log_every: PositiveInt = 10
    max_bad_steps: PositiveInt = 5
    """So many skipped steps (NaN or Inf) in a row end the run."""
    rehearse: bool | None = None
    """Whether the largest possible pack goes through before the first step; default: on CUDA."""
    trackers: list[str] = Field(default_factory=list)
    """Other programs that are told every step: tensorboard, wandb, trackio (``train.trackers``)."""
    report_seconds: PositiveFloat = 20.0
    """How often ``report.html`` is written anew while the run goes on."""
    profile: str = ""
    """``START:STEPS``: steps that are profiled into ``profile/``, counted from 1 as in the log."""

    @field_validator("trackers")
    @classmethod
    def _known_trackers(cls, value: list[str]) -> list[str]:
        known = names("mm15.train.trackers")
        if unknown := [name for name in value if name not in known]:
            told = ", ".join(f"'{name}'{did_you_mean(name, known)}" for name in unknown)
            raise ValueError(f"no such tracker: {told}; known: {', '.join(known)}")
        return value

    @field_validator("profile")
    @classmethod
    def _window(cls, value: str) -> str:
        start, _, steps = value.partition(":")
        if value and not (start.isdecimal() and steps.isdecimal() and int(start) > 0 and int(steps) > 0):
            raise ValueError("expected START:STEPS, two whole numbers above 0, such as 10:3")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.parallel.tensor > 1 and self.optimizer.kind == "adafactor":
            raise ValueError(
                "parallel.tensor splits fused matrices, whose rows and columns adafactor averages as one: it would not "
                "be the run of one rank. Use parallel.shard, or another optimizer"
            )
        if self.parallel.tensor > 1 and self.lora:
            raise ValueError(
                "parallel.tensor splits the layers that lora gives adapters to, and these would be lost; use "
                "parallel.shard"
            )
        return self
