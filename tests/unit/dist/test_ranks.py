"""Ranks on one machine: what they agree on, and how they end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mm15.base.errors import ConfigError, MM15Error
from mm15.dist.map import PROCESSES
from mm15.dist.ranks import any_rank, has_ranks, is_first, local_ranks, place, take_from_slurm


def tell(folder: Path) -> None:
    rank, world = place()
    seen = [any_rank(rank == world - 1), any_rank(False)]
    (folder / f"{rank}").write_text(f"{rank} of {world}, first {is_first()}, {seen}, {torch.get_num_threads()} threads")


def refuse() -> None:
    raise ConfigError(["no such thing"], "here")


def vanish() -> None:
    os._exit(9)


def test_alone_there_is_one_rank():
    assert place() == (0, 1) and is_first() and not has_ranks()
    assert any_rank(True) and not any_rank(False)


def test_ranks_know_their_place_and_agree(tmp_path):
    threads = torch.get_num_threads()
    with local_ranks(3, PROCESSES, tell, tmp_path):
        tell(tmp_path)
    told = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert told == {
        f"{rank}": f"{rank} of 3, first {rank == 0}, [True, False], 1 threads" for rank in range(3)
    }
    assert not has_ranks() and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("work", "said"),
    [(refuse, r"rank 1 \(exit code 1\): here: 1 problem\n  - no such thing"), (vanish, r"exit code 9\): ended without a")],
)
def test_a_rank_that_fails_ends_the_others(work, said):
    with pytest.raises(MM15Error, match=said), local_ranks(2, PROCESSES, work):
        for _ in range(100):
            dist.all_reduce(torch.zeros(1))
            time.sleep(0.01)
    assert not has_ranks()


def test_an_error_of_this_rank_ends_the_others():
    started = time.monotonic()
    with pytest.raises(KeyError), local_ranks(2, PROCESSES, wait_for_others):
        raise KeyError("mine")
    assert time.monotonic() - started < 60


def wait_for_others() -> None:
    dist.all_reduce(torch.zeros(1))


def test_slurm_tells_a_task_its_place():
    told = {"SLURM_NTASKS": "16", "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "123456"}
    with pytest.raises(MM15Error, match="MASTER_ADDR"):
        take_from_slurm(dict(told))
    environment = {**told, "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}
    take_from_slurm(environment)
    found = {name: environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
    assert found == {
        "RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456"
    }  # fmt: skip
    for alone in ({"RANK": "0", **environment}, {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, {}):
        before = dict(alone)
        take_from_slurm(alone)
        assert alone == before
