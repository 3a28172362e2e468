"""Evaluation and rehearsal on the way leave a run what it was, alone and with two ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mm15.base.errors import ConfigError, DataError
from mm15.stage import start_stage
from stage_fixture import small_recipe

SHORT = {"steps": 6, "save_every": 3, "log_every": 6}
ASKED = {"every": 2, "benchmarks": ["mini-math", "mini-words"], "limit": 3, "data": "."}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(folder: Path) -> list[tuple[float, float, dict[str, float]]]:
    return [(line["loss"], line["grad_norm"], line["sources"]) for line in lines(folder) if "loss" in line]


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_evaluation_and_rehearsal_change_no_loss(ranks: int, small_data: Path, tmp_path: Path):
    short = {**SHORT, "accumulation": ranks}
    start_stage(small_recipe("sft", ranks=ranks, train=short), tmp_path / "plain", small_data)
    asking = small_recipe("sft", ranks=ranks, train={**short, "rehearse": True}, evaluate=ASKED)
    start_stage(asking, tmp_path / "asking", small_data)
    assert losses(tmp_path / "plain") == losses(tmp_path / "asking")
    assert len(losses(tmp_path / "plain")) == 6
    told = [line for line in lines(tmp_path / "asking") if "evaluation" in line]
    assert [line["step"] for line in told] == [2, 4, 6]
    assert told[0]["evaluation"]["n"] == {"mini-math": 3, "mini-words": 3}
    assert set(told[0]["evaluation"]["scores"]) >= {"mini-math", "mini-words"}
    kept = tmp_path / "asking" / "evaluations" / "step-00000004" / "results.json"
    assert "mini-math" in kept.read_text()
    page = (tmp_path / "asking" / "report.html").read_text()
    assert "Evaluations" in page and "mini-math (n 3)" in page and "refer_ground" in page


def test_a_wrong_evaluation_is_refused_before_the_first_step(small_data: Path, tmp_path: Path):
    wrong = small_recipe("sft", train=SHORT, evaluate={**ASKED, "benchmarks": ["mini-maths"]})
    with pytest.raises(ConfigError, match="did you mean 'mini-math'"):
        start_stage(wrong, tmp_path / "wrong", small_data)
    absent = small_recipe("sft", train=SHORT, evaluate={**ASKED, "benchmarks": ["mini-video"]})
    with pytest.raises(DataError, match="no files for: mini-video"):
        start_stage(absent, tmp_path / "absent", small_data)
    assert not (tmp_path / "wrong" / "log.jsonl").exists()
    with pytest.raises(ConfigError, match="an encoder alone answers no questions"):
        small_recipe("encoder", evaluate=ASKED)
