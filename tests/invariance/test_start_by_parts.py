"""Two ranks that each read their part of the weights start as if they had the whole, and hold little more."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard
from torch.multiprocessing.spawn import spawn
from torch.utils._python_dispatch import TorchDispatchMode

from mm15.bundle import save_bundle
from mm15.model.flops import on_meta
from mm15.model.multimodal import MultimodalModel
from mm15.model.resize import TABLES
from mm15.train.adafactor import AdaFactor
from mm15.train.parallel import build_mesh
from mm15.train.parallel_config import ParallelConfig
from mm15.train.parallel_tensor import cut, local
from mm15.train.recipe import Recipe
from mm15.train.sharded import full_weights, whole
from mm15.train.start import start_of
from mm15.train.weights import FreshWeights
from parallel_fixture import MOE_CONFIG, join, leave, new_model, series, start_by_parts, steps_of
from stage_fixture import small_recipe
from training_fixture import CONFIG

FULL = ParallelConfig(shard="full")
SPREAD = {
    "full": (FULL, False),
    "tensor": (ParallelConfig(tensor=2), False),
    "experts": (ParallelConfig(experts=2), True),
    "full, experts": (ParallelConfig(shard="full", experts=2), True),
    "replicated": (ParallelConfig(), False),
}
OF_FOUR = {
    "hybrid": (ParallelConfig(shard="hybrid", shard_size=2), False),
    "full, tensor": (ParallelConfig(shard="full", tensor=2), False),
    "hybrid, experts": (ParallelConfig(shard="hybrid", shard_size=2, experts=2), True),
    "hybrid, tensor": (ParallelConfig(shard="hybrid", shard_size=2, tensor=2), False),
    "full, experts of two": (ParallelConfig(shard="full", experts=2), True),
}
ROWS = {"one row": (1, 6), "one row of one": (1, 1), "one expert": (1, 4, 3), "three rows": (3, 4), "one number": (1,)}


class Alive(TorchDispatchMode):
    """The most bytes of CPU memory that were in use at once, storage by storage."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it takes itself apart first
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else (result,):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                storage = tensor.untyped_storage()
                if storage._cdata not in self._seen:
                    self._seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def sizes(model: MultimodalModel) -> dict[str, int]:
    """Bytes of this rank's parameters, and of the largest whole one."""
    parameters = list(model.parameters())
    return {
        "mine": sum(4 * local(parameter).numel() for parameter in parameters),
        "whole": sum(4 * parameter.numel() for parameter in parameters),
        "largest": max(4 * parameter.numel() for parameter in parameters),
    }


def adafactor_moves(shared: bool) -> dict[str, Tensor]:
    """Parameters with fewer rows than ranks after three moves."""
    generator = torch.Generator().manual_seed(3)
    mesh = build_mesh(FULL)["shards"] if shared else None
    parameters: dict[str, Any] = {}
    for name, shape in ROWS.items():
        value = torch.randn(shape, generator=generator)
        parameters[name] = torch.nn.Parameter(value) if mesh is None else cut(value, mesh, Shard(0))
    optimizer = AdaFactor(parameters.values(), lr=1e-2, weight_decay=0.1, momentum=0.9)
    for _ in range(3):
        for name, shape in ROWS.items():
            gradient = torch.randn(shape, generator=generator)
            parameters[name].grad = gradient if mesh is None else cut(gradient, mesh, Shard(0)).detach()
        optimizer.step()
    return {name: whole(parameter).detach() for name, parameter in parameters.items()}


def from_seed(cases: dict[str, tuple[ParallelConfig, bool]]) -> dict[Any, Any]:
    """Bytes, whole weights and steps of models whose parts were made from the seed."""
    told: dict[Any, Any] = {}
    for name, (config, moe) in cases.items():
        empty = on_meta(MOE_CONFIG if moe else CONFIG)
        with Alive() as alive:
            model, optimizer = start_by_parts(empty, FreshWeights(empty, 0), config, "adamw")
        told["bytes", name] = {"peak": alive.peak, **sizes(model)}
        told["weights", name] = full_weights(model)
        told["steps", name] = steps_of(model, optimizer, range(2))
    return told


def four(rank: int, folder: Path) -> None:
    join(rank, 4, folder)
    told = from_seed(OF_FOUR)
    told["adafactor"] = adafactor_moves(True)
    torch.save(told, folder / f"{rank}")
    leave()


def work(rank: int, folder: Path) -> None:
    join(rank, 2, folder)
    told: dict[Any, Any] = {}
    told |= from_seed(SPREAD)
    for name, recipe in bundles().items():
        begun = start_of(recipe, folder, folder / "bundle", in_memory=False)
        assert begun.weights is not None
        with Alive() as alive:
            model, _ = start_by_parts(begun.model, begun.weights, recipe.train.parallel, "adamw")
        told["bytes", name] = {"peak": alive.peak, **sizes(model)}
        told["weights", name] = full_weights(model)
    told["adafactor"] = adafactor_moves(True)
    torch.save(told, folder / f"{rank}")
    leave()


def bundles() -> dict[str, Recipe]:
    """Recipes that start from the bundle: as it is, with larger tiles, and with adapters."""

    def recipe(tile: int, **train: Any) -> Recipe:
        return small_recipe("sft", split={"tile": tile}, train=train)

    return {
        "bundle": recipe(16, parallel={"shard": "full"}),
        "bundle, larger tiles": recipe(32, parallel={"shard": "full"}),
        "bundle, tensor": recipe(16, parallel={"tensor": 2}),
        "bundle, adapters": recipe(16, parallel={"shard": "full"}, lora={"rank": 2, "targets": ["decoder", "vision"]}),
    }


@pytest.fixture(scope="module")
def folder(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both ranks told, beside the bundle they read."""
    folder = tmp_path_factory.mktemp("by-parts")
    begun = start_of(small_recipe("sft"), small_data, None)
    save_bundle(folder / "bundle", begun.model, begun.processor)
    spawn(work, (folder,), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> list[dict[Any, Any]]:
    return [torch.load(folder / f"{rank}") for rank in range(2)]


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return set(found) == set(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", SPREAD)
def test_parts_made_from_the_seed_are_those_of_the_whole(told, name):
    _, moe = SPREAD[name]
    assert same(told[0]["weights", name], new_model(moe).state_dict())


@pytest.mark.parametrize("name", bundles())
def test_parts_of_a_bundle_are_those_of_the_whole(told, folder, name):
    expected = start_of(bundles()[name], folder, folder / "bundle").model.state_dict()
    assert same(told[0]["weights", name], expected)
    saved = start_of(small_recipe("sft"), folder, folder / "bundle").model.state_dict()
    assert any(".lora." in key for key in expected) == ("adapters" in name)
    assert (expected[TABLES[0]].shape == saved[TABLES[0]].shape) == ("larger" not in name)


@pytest.mark.parametrize("name", SPREAD)
def test_training_from_parts_takes_the_steps_of_one_rank(told, name):
    _, moe = SPREAD[name]
    from_whole = series(None, moe=moe, steps=2)
    for rank in range(2):
        for found, expected in zip(told[rank]["steps", name], from_whole, strict=True):
            assert found[0] == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize("name", ["full", "full, experts", "bundle", "bundle, larger tiles", "bundle, adapters"])
def test_no_rank_holds_more_than_its_part_and_a_layer(told, name):
    for rank in range(2):
        bytes_of = told[rank]["bytes", name]
        assert bytes_of["mine"] < 0.6 * bytes_of["whole"]
        # Twice: a part of the file as it is, and as fp32; a normal start needs no copy.
        assert bytes_of["mine"] <= bytes_of["peak"] <= bytes_of["mine"] + 2 * bytes_of["largest"]
        assert bytes_of["peak"] < 0.9 * bytes_of["whole"]


def test_adafactor_moves_what_has_fewer_rows_than_ranks(told):
    expected = adafactor_moves(False)
    for rank in range(2):
        for name, value in expected.items():
            assert told[rank]["adafactor"][name].shape == ROWS[name]
            torch.testing.assert_close(told[rank]["adafactor"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_four_ranks_start_by_parts(tmp_path):
    spawn(four, (tmp_path,), nprocs=4)
    told = [torch.load(tmp_path / f"{rank}") for rank in range(4)]
    for name, (_, moe) in OF_FOUR.items():
        assert same(told[0]["weights", name], new_model(moe).state_dict()), name
        expected = series(None, moe=moe, steps=2)
        for rank in range(4):
            assert told[rank]["steps", name][1][0] == pytest.approx(expected[1][0], rel=1e-6), name
            assert told[rank]["bytes", name]["peak"] < 0.9 * told[rank]["bytes", name]["whole"], name
    for name, value in adafactor_moves(False).items():
        torch.testing.assert_close(told[3]["adafactor"][name], value, rtol=1e-5, atol=1e-6)
