"""Four ranks, compiled blocks, 300 steps of every mix of pictures, and torchrun as a user starts it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from mm15.base.config import to_yaml
from mm15.train import checkpoint
from mm15.train.optim import build_optimizer
from mm15.train.parallel import build_mesh, parallelise
from mm15.train.parallel_config import ParallelConfig
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from parallel_fixture import join, leave, new_model, pack_with, series, start, steps_of
from stage_fixture import small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FOUR = {
    "replicated": (ParallelConfig(), "adamw", False),
    "full": (ParallelConfig(shard="full"), "muon", False),
    "hybrid": (ParallelConfig(shard="hybrid", shard_size=2), "adamw", False),
    "hybrid, adafactor": (ParallelConfig(shard="hybrid", shard_size=2), "adafactor", False),
    "tensor": (ParallelConfig(tensor=2), "muon", False),
    "full, tensor": (ParallelConfig(shard="full", tensor=2), "adamw", False),
    "hybrid, experts": (ParallelConfig(shard="hybrid", shard_size=2, experts=2), "adamw", True),
    "full, experts": (ParallelConfig(shard="full", experts=2), "muon", True),
    "full, experts of four": (ParallelConfig(shard="full", experts=4), "adamw", True),
    "tensor, experts": (ParallelConfig(tensor=2, experts=2), "adamw", True),
}
KINDS = [(0, False), (1, False), (8, False), (6, True)]
"""Text alone, one image, eight, and a clip of six frames."""
MIXES = list(itertools.product(KINDS, repeat=2))
STEPS = 300


def four(rank: int, folder: Path) -> None:
    join(rank, 4, folder)
    torch.save({name: series(*case) for name, case in FOUR.items()}, folder / f"{rank}")
    leave()


def test_four_ranks_take_the_steps_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr("mm15.train.optim.matmul_dtype", lambda device: torch.float32)
    spawn(four, (tmp_path,), nprocs=4)
    for name, (_, kind, moe) in FOUR.items():
        expected = torch.tensor(series(None, kind, moe), dtype=torch.float64)
        # AdaFactor's first move divides noise by noise where a gradient is all but zero: only there a looser bound.
        tolerance = 1e-5 if kind == "adafactor" else 1e-6
        for rank in range(4):
            found = torch.tensor(torch.load(tmp_path / f"{rank}")[name], dtype=torch.float64)
            torch.testing.assert_close(
                found[:, 0], expected[:, 0], rtol=tolerance, atol=0, msg=lambda t, n=name: f"{n}: {t}"
            )


FULL, TENSOR = ParallelConfig(shard="full"), ParallelConfig(shard="full", tensor=2)
RESHARDED = {
    "full": (FULL, FULL, "muon", True),
    "full, experts": (*[ParallelConfig(shard="full", experts=2)] * 2, "adamw", True),
    "tensor": (TENSOR, TENSOR, "adamw", False),
    "adafactor": (FULL, FULL, "adafactor", False),
    "full, then tensor": (FULL, TENSOR, "muon", False),
    "tensor, then full": (TENSOR, FULL, "adamw", False),
    "tensor of all, then of pairs": (ParallelConfig(tensor=2), TENSOR, "muon", False),
}
"""By two ranks, then by four: layout, layout, optimizer, experts."""


def save_or_go_on(rank: int, folder: Path, world: int) -> None:
    join(rank, world, folder)
    told = {}
    for name, (before, after, kind, moe) in RESHARDED.items():
        model, optimizer = start(before if world == 2 else after, kind, moe)
        found = checkpoint.newest_valid(folder / name)
        if found is None:
            steps_of(model, optimizer, range(2))
            checkpoint.save(folder / name, 2, model, optimizer, {})
        else:
            checkpoint.load(found, model, optimizer)
            told[name] = steps_of(model, optimizer, range(2, 4))
    torch.save(told, folder / f"{rank}")
    leave()


def test_two_ranks_save_and_four_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("mm15.train.optim.matmul_dtype", lambda device: torch.float32)
    for world in (2, 4):
        spawn(save_or_go_on, (tmp_path, world), nprocs=world)
        (tmp_path / "meet").unlink(missing_ok=True)
    found = torch.load(tmp_path / "0")
    for name, (_, _, kind, moe) in RESHARDED.items():
        expected = torch.tensor(series(None, kind, moe, steps=4)[2:], dtype=torch.float64)
        told = torch.tensor(found[name], dtype=torch.float64)
        tolerance = 1e-5 if kind == "adafactor" else 1e-6
        torch.testing.assert_close(
            told[:, 0], expected[:, 0], rtol=tolerance, atol=0, msg=lambda t, n=name: f"{n}: {t}"
        )


def compiled(rank: int, folder: Path) -> None:
    join(rank, 2, folder)
    torch.save(series(ParallelConfig(shard="full", compile=True, checkpointing="selective")), folder / f"{rank}")
    leave()


def test_compiled_blocks_take_the_same_steps(tmp_path):
    spawn(compiled, (tmp_path,), nprocs=2)
    found, expected = (torch.tensor(told) for told in (torch.load(tmp_path / "0"), series(None)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def mixed_steps(config: ParallelConfig | None, rank: int, world: int) -> list[float]:
    model = new_model()
    if config is not None:
        parallelise(model, config, build_mesh(config))
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-4))
    losses = []
    for step in range(STEPS):
        mix = MIXES[step % len(MIXES)]
        packs = [pack_with(tiles, 2 * step + side, frames) for side, (tiles, frames) in enumerate(mix)]
        losses.append(train_step(model, optimizer, packs[rank::world], clip=1.0).loss)
    return losses


def mixed(rank: int, folder: Path, config: ParallelConfig) -> None:
    join(rank, 2, folder)
    torch.save(mixed_steps(config, rank, 2), folder / f"{rank}")
    leave()


@pytest.mark.parametrize("shard", ["none", "full"])
def test_every_mix_of_text_images_and_clips_for_300_steps(tmp_path, shard):
    spawn(mixed, (tmp_path, ParallelConfig(shard=shard)), nprocs=2)
    found = [torch.tensor(torch.load(tmp_path / f"{rank}")) for rank in range(2)]
    expected = torch.tensor(mixed_steps(None, 0, 1))
    assert torch.equal(*found) and len(expected) == STEPS
    # Rounding grows with the steps: 300 moves of AdamW lie between the first loss and the last.
    torch.testing.assert_close(found[0][:16], expected[:16], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=0)


def run(arguments: list[str], ranks: int) -> str:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "mm15", *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses_of(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines]


@pytest.mark.parametrize("parallel", [{}, {"shard": "full"}, {"tensor": 2}], ids=["replicated", "full", "tensor"])
def test_torchrun_gives_the_losses_and_the_bundle_of_one_process(small_data, tmp_path, parallel):
    recipe = yaml.safe_load(to_yaml(small_recipe("pretrain")))
    recipe["train"] |= {"steps": 6, "accumulation": 2, "optimizer": {"kind": "adamw", "lr": 1e-3}, "precision": "fp32"}
    made: dict[str, Any] = {}
    for name, ranks in (("one", 1), ("two", 2)):
        text = yaml.safe_dump({**recipe, "train": {**recipe["train"], "parallel": parallel if ranks > 1 else {}}})
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        out = tmp_path / name
        run(["train", str(tmp_path / f"{name}.yaml"), "--data", str(small_data), "--out", str(out)], ranks)
        made[name] = losses_of(out), load_file(out / "bundle" / "model.safetensors")
    assert len(made["one"][0]) == 6
    assert made["two"][0] == pytest.approx(made["one"][0], rel=1e-5)
    assert set(made["one"][1]) == set(made["two"][1])
    for name, tensor in made["one"][1].items():
        torch.testing.assert_close(
            made["two"][1][name], tensor, rtol=1e-3, atol=1e-3, msg=lambda t, n=name: f"{n}: {t}"
        )
