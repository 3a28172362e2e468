"""Where the seconds of a step go: encoder, decoder, both on the way back, optimizer.

Only where work is done when a call returns, which is on a CPU: on a GPU telling would mean waiting. Nothing of the
model is changed; hooks note the time as work passes them.
"""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mm15.dist.ranks import data_group, has_ranks

PARTS = ("vision", "decoder", "vision_back", "decoder_back", "optimizer")
"""``vision`` is encoder and connector, ``decoder`` everything of the forward pass else, head and loss included;
``optimizer`` has clipping in it."""


class StepClock:
    """A stop-watch over the parts of one step on this rank; ``close`` takes its hooks off.

    Args:
        model: has ``vision`` and ``connector``; on a CPU.
    """

    def __init__(self, model: nn.Module) -> None:
        self.seconds = dict.fromkeys((*PARTS, "rest"), 0.0)
        self._last, self._back = time.perf_counter(), "decoder_back"
        vision, connector = model.vision, model.connector
        assert isinstance(vision, nn.Module) and isinstance(connector, nn.Module)
        self._handles = [
            vision.register_forward_pre_hook(self._into_vision),
            connector.register_forward_hook(self._out_of_vision),
        ]

    def start(self) -> None:
        """A step begins."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """What passed since the last lap was for ``part``; ``rest`` is for what is no part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now

    def lap_back(self) -> None:
        """The way back is over. Where no gradient goes to the connector, all of it was the decoder's."""
        self.lap(self._back)
        self._back = "decoder_back"

    def read(self) -> dict[str, float]:
        """Seconds by part, the mean over the ranks that took other packs, of which each must call it."""
        values = torch.tensor([self.seconds[part] for part in PARTS], dtype=torch.float64)
        if has_ranks():
            group = data_group()
            dist.all_reduce(values, group=group)
            values /= dist.get_world_size(group)
        return dict(zip(PARTS, values.tolist(), strict=True))

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _into_vision(self, module: nn.Module, inputs: Any) -> None:
        self.lap("decoder")  # word embeddings

    def _out_of_vision(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.lap("vision")
        if output.requires_grad:
            # Autograd goes back in the order of the forward pass, reversed: the decoder is done when this comes.
            output.register_hook(self._behind_decoder)

    def _behind_decoder(self, gradient: Tensor) -> None:
        self.lap("decoder_back")
        self._back = "vision_back"
