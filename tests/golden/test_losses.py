"""The first twenty steps of each stage on real small data give the losses they always gave.

The whole walk takes part: builders, sources, mixture, plan, processor, packing, model, loss, optimizer, schedule. fp32,
one thread, everywhere the same mathematics; processors still add in another order, hence the tolerance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from golden_fixture import FOLDER, HINT, UPDATE
from mm15.stage import start_stage
from mm15.train import optim
from stage_fixture import small_recipe

FILE = FOLDER / "losses.json"
TOLERANCE = 1e-3
"""Relative, of every single loss. Other kernels or threads move them by 1e-5 at most, a rate 5 % higher by 1e-2."""


@pytest.mark.parametrize("stage", ["pretrain", "continual", "sft"])
def test_the_first_twenty_losses_are_the_golden_ones(
    stage: str, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Muon orthogonalises in bf16 where the processor can; here it must not depend on the processor.
    monkeypatch.setattr(optim, "matmul_dtype", lambda device: torch.float32)
    result = start_stage(small_recipe(stage), tmp_path / "run", small_data)
    assert result.finished and result.steps == 20
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    made = {"targets": [row["targets"] for row in rows], "losses": [round(row["loss"], 5) for row in rows]}
    golden = load(stage, made)
    assert made["targets"] == golden["targets"], f"{stage}: other samples, or other tokens in them. {HINT}"
    wanted = pytest.approx(golden["losses"], rel=TOLERANCE)
    assert made["losses"] == wanted, f"{stage}: the same tokens have other losses. {HINT}"


def load(stage: str, made: dict[str, Any]) -> dict[str, Any]:
    """The golden numbers of a stage; with MM15_UPDATE_GOLDEN=1 they become what was made."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if UPDATE:
        kept[stage] = made
        lines = (f' "{name}": {json.dumps(kept[name])}' for name in sorted(kept))
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return kept.get(stage, {"targets": [], "losses": []})
