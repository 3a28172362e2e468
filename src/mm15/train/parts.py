"""Where the seconds of a step go: encoder, decoder and head, there and back, and the optimizer.

Only where work is done when a call returns, which is on a CPU: on a GPU telling would mean waiting. Nothing of the
model is changed; hooks note the time as work passes them. It is the processor's time of the thread that trains: waiting
for other ranks, and for a processor that somebody else has, are not in it.
"""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mm15.dist.ranks import data_group, has_ranks
from mm15.model.decoder import Decoder

PARTS = ("vision", "decoder", "head", "vision_back", "decoder_back", "head_back", "optimizer", "rest")
"""``vision`` is encoder and connector, ``decoder`` word embeddings and blocks, ``head`` everything of the forward pass
behind them, the loss included; ``optimizer`` has clipping in it, ``rest`` what is no part."""


class StepClock:
    """A stop-watch over the parts of one step on this rank; ``close`` takes its hooks off.

    Args:
        model: has ``vision`` and ``connector``, and may have a ``decoder``; on a CPU.
    """

    def __init__(self, model: nn.Module) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._last, self._back = time.thread_time(), "head_back"
        vision, connector = model.vision, model.connector
        assert isinstance(vision, nn.Module) and isinstance(connector, nn.Module)
        self._handles = [
            vision.register_forward_pre_hook(self._into_vision),
            connector.register_forward_hook(self._out_of_vision),
        ]
        if isinstance(decoder := getattr(model, "decoder", None), Decoder):
            self._handles.append(decoder.final_norm.register_forward_hook(self._out_of_decoder))

    def start(self) -> None:
        """A step begins."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self._last = time.thread_time()

    def lap(self, part: str) -> None:
        """What passed since the last lap was for ``part``."""
        now = time.thread_time()
        self.seconds[part] += now - self._last
        self._last = now

    def lap_back(self) -> None:
        """The way back is over: the last that it reached had the rest of it."""
        self.lap(self._back)
        self._back = "head_back"

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
        self._on_the_way_back(output, "vision_back")

    def _out_of_decoder(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.lap("decoder")
        self._on_the_way_back(output, "decoder_back")

    def _on_the_way_back(self, output: Tensor, part: str) -> None:
        """Autograd goes back in the order of the forward pass, reversed: what is behind is done when it comes here."""

        def arrived(gradient: Tensor) -> None:
            self.lap(self._back)
            self._back = part

        if output.requires_grad:
            output.register_hook(arrived)
