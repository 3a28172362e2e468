"""Evaluation while a model is trained: a hook for the training loop, which itself knows no benchmark."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm15.dist.ranks import is_first, meet
from mm15.evals.request import Request
from mm15.evals.run import evaluate
from mm15.model.multimodal import MultimodalModel
from mm15.processor import Processor

FOLDER = "evaluations"


class During:
    """Answers questions every ``every`` steps and after the last, and gives the scores as a line of the log.

    Several ranks share the questions. No random number is taken and no weight is touched: the run is the same with and
    without. Answers are kept in ``RUN/evaluations/step-…``.

    Args:
        run: the run folder.
        whole: puts a model that is shared out over ranks together; all ranks call it at once.

    Raises:
        ConfigError: unknown benchmarks; ``Request.read`` says more.
        DataError: their files are not there.
    """

    def __init__(
        self,
        every: int,
        request: Request,
        processor: Processor,
        run: Path,
        whole: Callable[[nn.Module], MultimodalModel] | None = None,
    ) -> None:
        self.every, self._request, self._processor, self._run, self._whole = every, request, processor, run, whole
        self._request.read()

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any]:
        """``{"evaluation": {"scores": …, "n": …, "seconds": …}}``; scores are 0-100."""
        if self._whole is not None:
            model = self._whole(model)
        assert isinstance(model, MultimodalModel)
        folder = self._run / FOLDER / f"step-{step:08d}"
        began = time.perf_counter()
        # What a killed run has left belongs to the same step, but not surely to the same weights.
        if is_first():
            shutil.rmtree(folder, ignore_errors=True)
        meet()
        device = next(model.parameters()).device
        model.eval()
        with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
            report = evaluate(model, self._processor, self._request, folder)
        model.train()
        found: dict[str, Any] = {
            "scores": {score.benchmark: round(score.value, 3) for score in report.scores},
            "n": {score.benchmark: score.n for score in report.scores},
            "seconds": time.perf_counter() - began,
        }
        if report.mmbase is not None:
            found["scores"]["MMBase"] = report.mmbase
        return {"evaluation": found}
