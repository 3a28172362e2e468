"""Another number of ranks or workers goes on with the same samples: none skipped, none twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faults_fixture import ask, ending, losses
from mm15.base.config import load, to_yaml
from mm15.base.errors import PlanMismatch
from mm15.stage import RECIPE, resume_stage
from mm15.train.recipe import Recipe

STEPS, PACKS = 12, 4


def drawn(run: Path) -> list[list]:
    """(pack, its samples) of every pack that any rank took, in the order of packs; twice if it was taken twice."""
    files = run.parent.glob(f"{run.name}-keys-*.jsonl")
    return sorted(json.loads(line) for file in files for line in file.read_text().splitlines())


def play(run: Path, data: Path, legs: list[list[int]]) -> list[float]:
    codes = ask(run, task="elastic", data=data, legs=legs)
    assert codes == [[0] * world for world, _, _ in legs]
    return losses(run)


@pytest.fixture(scope="module")
def straight(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], list[list]]:
    run = tmp_path_factory.mktemp("elastic") / "straight"
    series = play(run, small_data, [[1, 0, 0]])
    keys = drawn(run)
    assert [number for number, _ in keys] == list(range(STEPS * PACKS)) and len(series) == STEPS
    return series, keys


def test_ranks_and_workers_change_between_legs(straight, small_data: Path, tmp_path: Path):
    legs = [[1, 0, 3], [2, 0, 6], [4, 1, 9], [1, 2, 0]]
    series = play(tmp_path / "run", small_data, legs)
    assert drawn(tmp_path / "run") == straight[1]
    assert series == pytest.approx(straight[0], rel=1e-5)


@pytest.mark.slow
def test_at_two_ranks_a_stop_changes_no_bit(straight, small_data: Path, tmp_path: Path):
    whole = play(tmp_path / "whole", small_data, [[2, 0, 0]])
    play(tmp_path / "run", small_data, [[2, 0, 5], [2, 1, 0]])
    assert ending(tmp_path / "run") == ending(tmp_path / "whole")
    assert drawn(tmp_path / "run") == drawn(tmp_path / "whole") == straight[1]
    assert whole == pytest.approx(straight[0], rel=1e-5)


def test_a_changed_mixture_is_refused_with_the_shares(small_data: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert ask(run, task="elastic", data=small_data, legs=[[1, 0, 3]]) == [[0]]
    recipe = load(Recipe, run / RECIPE)
    recipe.mixture.groups["single"].members["math"] = 2.0
    (run / RECIPE).write_text(to_yaml(recipe))
    with pytest.raises(PlanMismatch, match=r"mixture: was .*math 5\.\d+%.*, is .*math 1\d\.\d+%"):
        resume_stage(run)
    assert resume_stage(run, accept_plan=True).finished


@pytest.mark.parametrize("world", [1, 2])
def test_all_ranks_skip_a_poisoned_step_together_and_name_its_samples(tmp_path: Path, world: int):
    # Step s holds packs 2 s - 2 and 2 s - 1, of two samples each: of steps 2, 4, 5, 7 and 10 one pack is poisoned.
    keys = ["random/4", "random/15", "random/16", "random/27", "random/36"]
    ask(tmp_path, task="poisoned", world=world, keys=keys, steps=10)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    skipped = {record["step"]: record["suspects"] for record in records if record.get("skipped")}
    pairs = [["random/4", "random/5"], ["random/14", "random/15"], ["random/16", "random/17"],
             ["random/26", "random/27"], ["random/36", "random/37"]]  # fmt: skip
    assert skipped == dict(zip([2, 4, 5, 7, 10], pairs, strict=True))
    assert len({(tmp_path / f"weights-{rank}").read_text() for rank in range(world)}) == 1
    assert not list(tmp_path.glob("error-*"))


def test_too_many_poisoned_steps_stop_every_rank(tmp_path: Path):
    ask(tmp_path, task="poisoned", world=2, keys=["random/9", "random/15", "random/19"], steps=10)
    for rank in range(2):
        said = (tmp_path / f"error-{rank}").read_text()
        assert said.startswith("3 steps in a row were skipped") and "random/19" in said
