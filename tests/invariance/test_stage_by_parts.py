"""A stage on two ranks that share the model out: the losses and the bundle of one process, with adapters and hooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributed.tensor import DTensor

from mm15.base.errors import ConfigError
from mm15.bundle import load_bundle, save_bundle
from mm15.evals.request import Request
from mm15.evals.run import evaluate
from mm15.stage import resume_stage, start_stage
from mm15.train.recipe import EvaluateConfig, Recipe
from mm15.train.start import start_of
from stage_fixture import Terminate, small_recipe

LORA = {"rank": 4, "alpha": 8, "targets": ["decoder.blocks"]}


def recipe(shared: bool, tile: int = 16, **train: Any) -> Recipe:
    """Three steps of two packs, AdamW: by one process, or by two that share the model out."""
    spread = {"parallel": {"shard": "full"}} if shared else {}
    optimizer = {"kind": "adamw", "lr": 2e-3}
    return small_recipe(
        "sft",
        ranks=2 if shared else 1,
        split={"mode": "none", "tile": tile},
        train={"steps": 3, "accumulation": 2, "optimizer": optimizer, **spread, **train},
    )


def losses_of(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def answers_of(folder: Path) -> dict[str, str]:
    """What was said to every question."""
    found = {}
    for file in sorted((folder / "predictions").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            found[f"{file.name}/{told['key']}"] = told["answer"]
    assert found
    return found


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "bundle" / "model.safetensors")


def check_equal(one: Path, two: Path) -> None:
    assert len(losses_of(one)) == 3
    assert losses_of(two) == pytest.approx(losses_of(one), rel=1e-5)
    expected, found = weights_of(one), weights_of(two)
    assert set(found) == set(expected) and not any(".lora." in name for name in found)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


class Watcher:
    """Looks at the model without computing with it."""

    every = 2

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any]:
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
        self.seen.append(step)
        return {"looked": step}


@pytest.fixture(scope="module")
def init(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    begun = start_of(small_recipe("sft", seed=5), small_data, None)
    save_bundle(folder, begun.model, begun.processor)
    return folder


def test_from_nothing_with_a_hook(small_data: Path, tmp_path: Path):
    watcher = Watcher()
    start_stage(recipe(False), tmp_path / "one", small_data)
    assert start_stage(recipe(True), tmp_path / "two", small_data, hooks=[watcher]).finished
    assert watcher.seen == [2, 3]
    check_equal(tmp_path / "one", tmp_path / "two")


def test_from_a_bundle_with_larger_tiles(small_data: Path, init: Path, tmp_path: Path):
    for name, shared in (("one", False), ("two", True)):
        start_stage(recipe(shared, tile=32), tmp_path / name, small_data, init)
    check_equal(tmp_path / "one", tmp_path / "two")


def test_adapters_are_merged_into_the_bundle_of_one_process_after_a_stop_too(
    small_data: Path, init: Path, tmp_path: Path
):
    start_stage(recipe(False, lora=LORA), tmp_path / "one", small_data, init)
    two = tmp_path / "two"
    assert not start_stage(recipe(True, lora=LORA), two, small_data, init, hooks=[Terminate(2)]).finished
    assert resume_stage(two).finished
    check_equal(tmp_path / "one", two)
    expected, found = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    assert set(found) == set(expected) and len(expected) == 2 * 8
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)
    before, after = load_file(init / "model.safetensors"), weights_of(two)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(moved) == 8 and all(name.startswith("decoder.blocks") for name in moved)


@pytest.mark.parametrize(
    "train",
    [{}, {"lora": LORA}, pytest.param({"parallel": {"tensor": 2}}, id="tensor")],
    ids=["full", "full, adapters", None],
)
def test_questions_are_answered_by_the_whole_model(small_data: Path, init: Path, tmp_path: Path, train: dict[str, Any]):
    start_stage(recipe(True, **train), tmp_path / "plain", small_data, init)
    asked = {"every": 2, "benchmarks": ["mini-math", "mini-words"], "limit": 5, "data": "."}
    asking = recipe(True, **train).model_copy(update={"evaluate": EvaluateConfig.model_validate(asked)})
    start_stage(asking, tmp_path / "asking", small_data, init)
    assert losses_of(tmp_path / "asking") == losses_of(tmp_path / "plain")
    bundle = load_bundle(tmp_path / "asking" / "bundle")
    request = Request(str(small_data), ("mini-math", "mini-words"), limit=5)
    evaluate(bundle.model.eval(), bundle.processor, request, tmp_path / "after")
    assert answers_of(tmp_path / "asking" / "evaluations" / "step-00000003") == answers_of(tmp_path / "after")
    assert not (tmp_path / "asking" / "evaluations" / "step-00000001").exists()


def test_adapters_are_not_lost_in_split_layers():
    with pytest.raises(ConfigError, match=r"parallel\.tensor splits the layers that lora gives adapters to"):
        small_recipe("sft", train={"parallel": {"tensor": 2}, "lora": LORA})
