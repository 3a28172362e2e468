"""How a run is spread over ranks. The recipe says it; what a step computes does not depend on it."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, model_validator

from mm15.base.config import Strict
from mm15.base.errors import ConfigError


class ParallelConfig(Strict):
    """Every rank holds everything (``shard: none``), or a share of it; docs/CLUSTER.md says what suits which size.

    The ranks are ``replicas x shards x experts x tensor``. All but those of one ``tensor`` group take other packs.
    """

    shard: Literal["none", "full", "hybrid"] = "none"
    """``full``: parameters, gradients and optimizer state are shared out over all data ranks (FSDP2, ZeRO-3).
    ``hybrid``: inside groups of ``shard_size`` ranks, mostly a node, that are replicas of each other."""
    shard_size: PositiveInt | None = None
    """Ranks of one shard group; for ``hybrid`` only."""
    tensor: PositiveInt = 1
    """So many ranks share the heads and inner widths of the decoder's layers, and work on the same pack."""
    experts: PositiveInt = 1
    """So many ranks share out the experts of every layer; rows travel to the rank of their expert."""
    checkpointing: Literal["none", "selective", "full"] = "none"
    """Of activations: ``selective`` keeps the results of matrix products, ``full`` only what enters a block."""
    compile: bool = False
    """Compile every block by itself (torch.compile)."""

    @model_validator(mode="after")
    def _consistent(self) -> ParallelConfig:
        if self.shard == "hybrid" and self.shard_size is None:
            raise ValueError("shard: hybrid needs shard_size, the ranks of one shard group (mostly those of one node)")
        if self.shard != "hybrid" and self.shard_size is not None:
            raise ValueError(f"shard_size is for shard: hybrid, not {self.shard}")
        if self.shard_size is not None and self.shard_size % self.experts:
            raise ValueError(f"shard_size {self.shard_size} must be a multiple of experts {self.experts}")
        return self

    @property
    def shares_out(self) -> bool:
        """Whether a rank holds a part of the model only."""
        return self.shard != "none" or self.tensor > 1 or self.experts > 1

    def sizes(self, world: int) -> dict[str, int]:
        """Ranks along each axis of the mesh, outermost first; their product is ``world``.

        Raises:
            ConfigError: the ranks do not divide so.
        """
        inner = self.tensor * self.experts
        if self.shard == "hybrid" and self.shard_size is not None:
            inner = self.tensor * self.shard_size
        if world % inner:
            what = f"tensor {self.tensor}, experts {self.experts}, shard_size {self.shard_size}"
            raise ConfigError([f"train.parallel: {world} ranks are no multiple of {inner} ({what})"], "recipe")
        rest = world // inner
        if self.shard == "full":
            replicas, shards = 1, rest
        elif self.shard == "hybrid" and self.shard_size is not None:
            replicas, shards = rest, self.shard_size // self.experts
        else:
            replicas, shards = rest, 1
        return {"replicas": replicas, "shards": shards, "experts": self.experts, "tensor": self.tensor}
