"""Two ranks, however the model is spread over them, take the steps of one; all cases in one start of two processes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.multiprocessing.spawn import spawn

from mm15.base.errors import ConfigError
from mm15.train import checkpoint
from mm15.train.adafactor import AdaFactor
from mm15.train.gradients import clip_gradients, reduce_gradients
from mm15.train.loss import loss_sums
from mm15.train.parallel import parallelise
from mm15.train.parallel_config import ParallelConfig
from mm15.train.parallel_tensor import local
from mm15.train.parallel_tiles import shipments
from mm15.train.sharded import full_weights, is_shared_out, whole
from parallel_fixture import join, leave, new_model, pack_with, series, start, steps_of

FULL = ParallelConfig(shard="full")
SERIES = {
    "replicated": (ParallelConfig(), "adamw", False),
    "full": (FULL, "adamw", False),
    "full, muon": (FULL, "muon", False),
    "full, selective": (ParallelConfig(shard="full", checkpointing="selective"), "adamw", False),
    "tensor": (ParallelConfig(tensor=2), "adamw", False),
    "tensor, recomputed": (ParallelConfig(tensor=2, checkpointing="full"), "muon", False),
    "full, experts whole": (ParallelConfig(shard="full", checkpointing="full"), "adamw", True),
    "experts": (ParallelConfig(experts=2), "adamw", True),
    "full, experts": (ParallelConfig(shard="full", experts=2), "muon", True),
}
IMAGES = list(itertools.product((0, 1, 8), repeat=2))


def gradients(config: ParallelConfig | None, packs: list[Any]) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Whole gradients of these packs, and how many tiles this rank encoded."""
    model, optimizer = start(config, "adamw")
    encoded = []
    model.vision.patch.register_forward_hook(lambda module, inputs, out: encoded.append(len(out)))
    for batch in packs:
        (loss_sums(model(batch), batch).objective / 100).backward()
    reduce_gradients(optimizer.parameters)
    found = {n: whole(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    return {name: gradient.clone() for name, gradient in found.items()}, encoded


def adafactor_moves(config: ParallelConfig | None) -> dict[str, torch.Tensor]:
    """Weights after three moves along given gradients: what is compared is the optimizer alone."""
    model, _ = start(config, "adamw", moe=True)
    optimizer = AdaFactor(model.parameters(), lr=1e-2, weight_decay=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for (_, parameter), (_, plain) in zip(
            model.named_parameters(), new_model(True).named_parameters(), strict=True
        ):
            gradient = torch.randn(plain.shape, generator=generator)
            assert isinstance(parameter, DTensor) == (config is not None)
            if isinstance(parameter, DTensor):
                mesh, placements = parameter.device_mesh, parameter.placements
                gradient = distribute_tensor(gradient, mesh, placements, src_data_rank=None)
            parameter.grad = gradient
        clip_gradients(list(model.parameters()), 100.0)
        optimizer.step()
    return full_weights(model)


CROSSINGS = {
    "alone to tensor": (ParallelConfig(), ParallelConfig(tensor=2), "muon"),
    "tensor to alone": (ParallelConfig(tensor=2), ParallelConfig(), "muon"),
    "full to tensor": (ParallelConfig(shard="full"), ParallelConfig(tensor=2), "adamw"),
    "tensor to full": (ParallelConfig(tensor=2), ParallelConfig(shard="full"), "adamw"),
}
"""Saved in one layout, read in another."""


def crossed(folder: Path, before: ParallelConfig, after: ParallelConfig, kind: str) -> list[list[float]]:
    """The third and fourth step, taken in another layout than the first two."""
    model, optimizer = start(before, kind)
    steps_of(model, optimizer, range(2))
    checkpoint.save(folder, 2, model, optimizer, {})
    model, optimizer = start(after, kind)
    with torch.no_grad():
        for parameter in model.parameters():
            local(parameter).fill_(0.5)
    found = checkpoint.newest_valid(folder)
    assert found is not None
    checkpoint.load(found, model, optimizer)
    return steps_of(model, optimizer, range(2, 4))


def work(rank: int, folder: Path) -> None:
    join(rank, 2, folder)
    told: dict[Any, Any] = {name: series(*case) for name, case in SERIES.items()}
    for sharded in (False, True):
        for images in IMAGES:
            config = FULL if sharded else ParallelConfig()
            told["images", sharded, images] = gradients(config, [pack_with(images[rank], 10 * rank + images[rank])])
    told["adafactor"] = adafactor_moves(FULL)
    for name in ("tensor", "full, experts"):
        model, _ = start(SERIES[name][0], "adamw", moe=SERIES[name][2])
        assert is_shared_out(model)
        told["weights", name] = full_weights(model)
    for name, case in CROSSINGS.items():
        told["crossed", name] = crossed(folder / name, *case)
    torch.save(told, folder / f"{rank}")
    leave()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder = tmp_path_factory.mktemp("two-ranks")
    spawn(work, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, bool], list[list[float]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mm15.train.optim.matmul_dtype", lambda device: torch.float32)
        return {(kind, moe): series(None, kind, moe) for kind, moe in {(kind, moe) for _, kind, moe in SERIES.values()}}


@pytest.mark.parametrize("name", SERIES)
def test_the_loss_is_one_number(told, alone, name):
    _, kind, moe = SERIES[name]
    expected = torch.tensor(alone[kind, moe], dtype=torch.float64)
    for rank in range(2):
        found = torch.tensor(told[rank][name], dtype=torch.float64)
        torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-6, atol=0)
        torch.testing.assert_close(found[:, 1], expected[:, 1], rtol=5e-6, atol=0)


@pytest.mark.parametrize("name", CROSSINGS)
def test_a_run_goes_on_in_another_layout(told, name):
    kind = CROSSINGS[name][2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mm15.train.optim.matmul_dtype", lambda device: torch.float32)
        expected = torch.tensor(series(None, kind, steps=4)[2:], dtype=torch.float64)
    for rank in range(2):
        found = torch.tensor(told[rank]["crossed", name], dtype=torch.float64)
        torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-6, atol=0)
        torch.testing.assert_close(found[:, 1], expected[:, 1], rtol=5e-6, atol=0)


@pytest.mark.parametrize("sharded", [False, True], ids=["replicated", "full"])
@pytest.mark.parametrize("images", IMAGES, ids=str)
def test_ranks_without_images_never_hang_and_tiles_are_dealt_evenly(told, sharded, images):
    expected, _ = gradients(None, [pack_with(images[rank], 10 * rank + images[rank]) for rank in range(2)])
    counts = []
    for rank in range(2):
        found, encoded = told[rank]["images", sharded, images]
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(
                found[name], gradient, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
            )
        counts += encoded
    assert sum(counts) == sum(images) and abs(counts[0] - counts[1]) <= 1
    assert any(gradient.abs().max() > 0 for name, gradient in expected.items() if name.startswith("vision")) == (
        sum(images) > 0
    )


def test_adafactor_takes_means_over_the_whole(told):
    expected = adafactor_moves(None)
    assert set(told[0]["adafactor"]) == set(expected) and told[1]["adafactor"] == {}
    for name, weight in expected.items():
        torch.testing.assert_close(told[0]["adafactor"][name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["tensor", "full, experts"])
def test_what_was_shared_out_is_gathered_under_its_old_names(told, name):
    expected = new_model(SERIES[name][2]).state_dict()
    found = told[0]["weights", name]
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_shipments_leave_every_rank_its_share():
    assert shipments([0, 0]) is None and shipments([6, 5, 5]) is None
    assert shipments([8, 0]) == [[0, 4], [0, 0]]
    for counts in ([9, 0, 0, 1], [1, 0], [3, 3, 12, 0], [0, 7, 0]):
        sent = shipments(counts)
        assert sent is not None
        world = len(counts)
        after = [counts[r] - sum(sent[r]) + sum(sent[a][r] for a in range(world)) for r in range(world)]
        assert sum(after) == sum(counts) and max(after) - min(after) <= 1
        assert all(min(sum(sent[r]), sum(sent[a][r] for a in range(world))) == 0 for r in range(world))


def test_what_cannot_be_shared_out_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="start it with torchrun"):
        parallelise(new_model(), FULL)
    with pytest.raises(ConfigError, match="6 ranks are no multiple of 4"):
        ParallelConfig(tensor=4).sizes(6)
    with pytest.raises(ValueError, match="shard: hybrid needs shard_size"):
        ParallelConfig(shard="hybrid")
    assert ParallelConfig(shard="hybrid", shard_size=8, tensor=2, experts=4).sizes(64) == {
        "replicas": 4,
        "shards": 2,
        "experts": 4,
        "tensor": 2,
    }
