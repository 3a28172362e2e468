import json
import logging

import pytest
import torch

from mm15.base.errors import BundleError
from mm15.train import checkpoint
from mm15.train.optim import build_optimizer
from mm15.train.run_config import OptimizerConfig
from mm15.train.step import train_step
from training_fixture import RandomPacks, debug_model, random_pack


def trained(kind="muon", seed=0, steps=2):
    model = debug_model(seed)
    optimizer = build_optimizer(model, OptimizerConfig(kind=kind, lr=1e-3))
    for step in range(steps):
        train_step(model, optimizer, [random_pack(step)], clip=1.0)
    return model, optimizer


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_everything_comes_back_bit_for_bit(tmp_path, kind):
    model, optimizer = trained(kind)
    folder = checkpoint.save(tmp_path, 2, model, optimizer, {"position": 2, "plan_hash": "p"})
    found = checkpoint.newest_valid(tmp_path)
    assert found is not None
    assert (found.folder, found.step, found.loader) == (folder, 2, {"position": 2, "plan_hash": "p"})
    other, fresh = trained(kind, seed=1, steps=0)
    checkpoint.load(found, other, fresh)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    mine, theirs = optimizer.state(), fresh.state()
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert mine[name].keys() == theirs[name].keys()
        assert all(torch.equal(mine[name][key], theirs[name][key]) for key in mine[name])
        assert all(mine[name][key].dtype is theirs[name][key].dtype for key in mine[name])
    for each, inner in ((model, optimizer), (other, fresh)):
        train_step(each, inner, [random_pack(5)], clip=1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_only_the_newest_are_kept_and_left_overs_go(tmp_path):
    model, optimizer = trained()
    (tmp_path / ".step-00000001.part").mkdir()
    for step in (1, 2, 10, 11):
        checkpoint.save(tmp_path, step, model, optimizer, {}, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010", "step-00000011"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.newest_valid(tmp_path) is None
    assert checkpoint.newest_valid(tmp_path / "nowhere") is None


def test_verify_names_every_problem_and_reads_no_pickle(tmp_path, monkeypatch):
    folder = checkpoint.save(tmp_path, 1, *trained(), {})
    (folder / "stranger.pkl").write_bytes(b"x")
    (folder / "__0_0.distcp").unlink()
    content = bytearray((folder / ".metadata").read_bytes())
    content[100] ^= 1
    (folder / ".metadata").write_bytes(content)
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("a damaged pickle was read"))
    with pytest.raises(BundleError) as caught:
        checkpoint.verify(folder)
    for said in ("__0_0.distcp: missing", "stranger.pkl: not in the manifest", ".metadata: its contents changed"):
        assert said in str(caught.value)


def test_a_manifest_is_bound_to_itself(tmp_path, caplog):
    folder = checkpoint.save(tmp_path, 1, *trained(), {"position": 3})
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "step": 9}))
    with caplog.at_level(logging.WARNING):
        assert checkpoint.newest_valid(tmp_path) is None
    assert "does not match its own hash" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.broken"]


def test_a_checkpoint_of_another_run_is_refused_with_every_difference(tmp_path):
    model, optimizer = trained("adamw")
    checkpoint.save(tmp_path, 1, model, optimizer, RandomPacks().state())
    found = checkpoint.newest_valid(tmp_path)
    assert found is not None
    other, fresh = trained("adamw", steps=0)
    other.decoder.embedding.weight = torch.nn.Parameter(torch.zeros(70, 48))
    other.decoder.extra = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(BundleError) as caught:
        checkpoint.load(found, other, fresh)
    assert "model/decoder.embedding.weight: saved as [64, 48], wanted as [70, 48]" in str(caught.value)
    assert "model/decoder.extra: missing" in str(caught.value)
    frozen = build_optimizer(debug_model(), OptimizerConfig(lr_scale={"vision": 0}))
    with pytest.raises(BundleError, match=r"optimizer/vision\.patch\.weight/exp_avg: saved, but not wanted"):
        checkpoint.load(found, debug_model(), frozen)
