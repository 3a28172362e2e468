"""Everything that defines a run, as one frozen value: what is trained, on what, how pictures are cut, for how long."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict, load
from mm15.base.errors import ConfigError
from mm15.data.mixture import MixtureConfig
from mm15.data.open import shipped_recipes
from mm15.data.source import SourceConfig
from mm15.images.split import SplitPolicy
from mm15.model.sizes import SIZES
from mm15.train.run_config import TrainConfig


class StageName(StrEnum):
    """The stages of the journey. ``ENCODER`` is ours: MM1.5's encoder comes CLIP-pretrained."""

    ENCODER = "encoder"
    PRETRAIN = "pretrain"
    CONTINUAL = "continual"
    SFT = "sft"


class EvaluateConfig(Strict):
    """Questions that are answered while the model is trained. Their names mean something to ``evals`` only."""

    every: PositiveInt
    """Steps between; the last step has one in any case."""
    suite: str = "mini"
    benchmarks: list[str] = Field(default_factory=list)
    """Only these, of whatever suite."""
    limit: PositiveInt | None = None
    """At most so many questions of a benchmark."""
    data: str = ""
    """Folder of the benchmarks' files, from the data folder; default: the mini suite, built in the run folder."""


class Recipe(Strict):
    """One stage. Written as YAML, stored resolved beside the weights it made."""

    name: str
    stage: StageName
    size: str = "mini"
    """Name in ``model.sizes``; used when training starts from nothing (no ``--from``)."""
    tokenizer: str = "tokenizer.json"
    """A Hugging Face tokenizer file under the data folder; used when training starts from nothing."""
    seed: int = 0
    split: SplitPolicy
    answer_split: SplitPolicy | None = None
    """How pictures are cut when answering, where that differs from training."""
    other_splits: list[SplitPolicy] = Field(default_factory=list)
    """Encoder stage only: further ways in which pictures are cut, so that later stages meet known tiles."""
    max_tokens: PositiveInt = 4096
    """Longest sample; longer ones are skipped by name, never cut."""
    sources: list[SourceConfig] = Field(min_length=1)
    mixture: MixtureConfig
    window: PositiveInt = 2048
    """Draws that are planned into packs together."""
    cache_mb: int = Field(default=0, ge=0)
    """MiB of encoded samples kept in memory, where samples are drawn more than once."""
    workers: int = Field(1, ge=0)
    """Processes that read ahead, on every rank; 0 reads in between."""
    worker_timeout_s: PositiveFloat = 60
    """A worker that gives nothing for so long ends the run; it is named, with what it was doing."""
    ranks: PositiveInt = 1
    """CPU only: training processes of one thread each, at most as many as there are cores. How many there are changes
    speed and rounding, not what a step is: ``train.accumulation`` counts packs over all ranks."""
    train: TrainConfig
    evaluate: EvaluateConfig | None = None

    @field_validator("size")
    @classmethod
    def _known_size(cls, value: str) -> str:
        if value not in SIZES:
            raise ValueError(f"unknown size{did_you_mean(value, SIZES)}; known: {', '.join(SIZES)}")
        return value

    @field_validator("mixture")
    @classmethod
    def _something_to_draw(cls, value: MixtureConfig, info: ValidationInfo) -> MixtureConfig:
        # Here and not with the data, so that they are told together with what else is wrong in the file.
        problems = value.empty_groups()
        if value.empty == "error" and "sources" in info.data:
            sources: list[SourceConfig] = info.data["sources"]
            known = {source.name for source in sources} | {source.category.value for source in sources}
            problems += [
                f"{path}: no source has this name or category{did_you_mean(name, known)}"
                for name, path in value.drawn().items()
                if name not in known
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [source.name for source in self.sources]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"sources named twice: {', '.join(double)}")
        if self.other_splits and self.stage is not StageName.ENCODER:
            raise ValueError("other_splits is for the encoder stage; use split and answer_split")
        if self.evaluate and self.stage is StageName.ENCODER:
            raise ValueError("evaluate: an encoder alone answers no questions")
        return self


def load_recipe(name: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """A recipe file, or one shipped with mm15 by its name.

    Raises:
        ConfigError: no such recipe (the nearest name is given), or everything that is wrong in it.
    """
    path = Path(name)
    if not path.suffix:
        shipped = shipped_recipes()
        if str(name) not in shipped:
            known = ", ".join(sorted(shipped))
            raise ConfigError(
                [f"unknown recipe '{name}'{did_you_mean(str(name), shipped)}; shipped: {known}"], "recipe"
            )
        path = shipped[str(name)]
    return load(Recipe, path, changes)
