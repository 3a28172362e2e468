"""8 × 1 = 2 × 4: a step is one sum over all its samples, however they are cut into packs or dealt to ranks."""

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mm15.train.loop import train
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig, TrainConfig
from mm15.train.step import train_step
from training_fixture import RandomPacks, debug_model, random_pack

STEPS = 20


def series(folder, samples, accumulation, kind):
    config = TrainConfig(
        steps=STEPS,
        accumulation=accumulation,
        optimizer=OptimizerConfig(kind=kind, lr=2e-3),
        precision="fp32",
        save_every=STEPS,
        z_loss=1e-4,
    )
    model = debug_model()
    train(model, RandomPacks(samples), config, folder)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(record["loss"], record["grad_norm"]) for record in records], [record["targets"] for record in records]


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_eight_packs_of_one_equal_two_packs_of_four(tmp_path, kind):
    fine, targets = series(tmp_path / "fine", samples=1, accumulation=8, kind=kind)
    coarse, same_targets = series(tmp_path / "coarse", samples=4, accumulation=2, kind=kind)
    assert targets == same_targets
    # Samples differ in length, so a mean of means would be another number.
    assert len(set(targets)) > 1
    torch.testing.assert_close(torch.tensor(fine), torch.tensor(coarse), rtol=2e-4, atol=1e-5)


def run_rank(rank, folder, kind):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(kind=kind, lr=2e-3))
    # Rank 0 gets the long packs, so the ranks have different numbers of targets.
    batches = [[random_pack(2 * step, samples=4), random_pack(40 + step, samples=1)][rank] for step in range(4)]
    reports = [train_step(model, optimizer, [batch], clip=1.0) for batch in batches]
    torch.save(
        [[report.loss, report.grad_norm, report.targets, report.tiles] for report in reports], folder / f"{rank}"
    )
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["adamw", "muon"])  # Muon deals its matrices out to the ranks
def test_two_ranks_equal_one(tmp_path, kind):
    mp.spawn(run_rank, (tmp_path, kind), nprocs=2)
    model = debug_model()
    optimizer = build_optimizer(model, OptimizerConfig(kind=kind, lr=2e-3))
    alone = [
        train_step(model, optimizer, [random_pack(2 * step, samples=4), random_pack(40 + step, samples=1)], clip=1.0)
        for step in range(4)
    ]
    expected = torch.tensor([[report.loss, report.grad_norm, report.targets, report.tiles] for report in alone])
    for rank in range(2):
        found = torch.tensor(torch.load(tmp_path / f"{rank}"))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
