"""A recipe becomes a run folder with a bundle in it; interrupted, it goes on; wrong, it says everything at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mm15.base.config import load, merge
from mm15.base.errors import ConfigError, PlanMismatch
from mm15.bundle import load_bundle
from mm15.model.multimodal import MultimodalModel
from mm15.model.resize import TABLES
from mm15.model.vit import resize_positions
from mm15.stage import StageResult, mixture_of, resume_stage, start_stage
from mm15.train.encoder import QUESTIONS
from mm15.train.loop import packs_per_rank
from mm15.train.recipe import Recipe, load_recipe
from stage_fixture import ROWS, STAGES, Terminate, small_recipe, small_values

SHORT = {"steps": 6, "save_every": 2}


def log_of(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: row[name] for name in ("step", "loss", "grad_norm", "targets")} for row in rows if "loss" in row]


def write_recipe(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def straight(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageResult]:
    """The run folder of a short fine-tuning from nothing."""
    folder = tmp_path_factory.mktemp("stage") / "straight"
    return folder, start_stage(small_recipe("sft", train=SHORT), folder, small_data)


def test_a_run_folder_is_self_contained(straight: tuple[Path, StageResult]):
    folder, result = straight
    assert {path.name for path in folder.iterdir()} == {
        "recipe.yaml",
        "run.json",
        "shares.json",
        "log.jsonl",
        "report.html",
        "watch.json",
        "checkpoints",
        "bundle",
    }
    recipe = small_recipe("sft", train=SHORT)
    assert load(Recipe, folder / "recipe.yaml") == recipe
    assert [row["step"] for row in log_of(folder)] == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in sorted((folder / "checkpoints").glob("step-*"))] == ["step-00000004", "step-00000006"]
    shares = {row["source"]: row for row in json.loads((folder / "shares.json").read_text())}
    assert set(shares) == {source["name"] for source in STAGES["sft"]["sources"]}
    assert sum(row["share"] for row in shares.values()) == pytest.approx(1)
    assert shares["pairs"]["share"] == pytest.approx(0.1) and shares["pairs"]["size"] == ROWS

    assert (result.folder, result.name, result.finished, result.steps) == (str(folder), "small-sft", True, 6)
    assert result.loss == log_of(folder)[-1]["loss"]
    assert result.samples > 6 and result.tiles > result.samples and result.tokens > result.tiles * 4
    bundle = load_bundle(folder / "bundle")
    assert bundle.recipe == recipe.model_dump(mode="json")
    assert (bundle.extra["stage"], bundle.extra["steps"]) == ("sft", 6)
    assert bundle.processor.config.split == recipe.split
    assert bundle.processor.config.max_tokens == 700 and bundle.processor.config.tokens_per_tile == 4


def test_an_interrupted_run_goes_on_to_the_same_bundle(
    straight: tuple[Path, StageResult], small_data: Path, tmp_path: Path
):
    recipe = small_recipe("sft", train=SHORT)
    stopped = start_stage(recipe, tmp_path / "run", small_data, hooks=[Terminate(3)])
    assert (stopped.finished, stopped.steps) == (False, 3)
    assert not (tmp_path / "run" / "bundle").exists()
    result = resume_stage(tmp_path / "run")
    assert (result.finished, result.steps) == (True, 6)
    folder, _ = straight
    ours, theirs = (load_file(run / "bundle" / "model.safetensors") for run in (tmp_path / "run", folder))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert log_of(tmp_path / "run") == log_of(folder)


def test_resuming_a_finished_run_only_writes_its_bundle(straight: tuple[Path, StageResult]):
    folder, _ = straight
    log, weights = (folder / "log.jsonl").read_bytes(), (folder / "bundle" / "model.safetensors").read_bytes()
    (folder / "bundle" / "model.safetensors").unlink()
    result = resume_stage(folder)
    assert (result.finished, result.steps, result.samples) == (True, 6, 0)
    assert (folder / "log.jsonl").read_bytes() == log
    assert (folder / "bundle" / "model.safetensors").read_bytes() == weights


def test_a_run_is_never_overwritten(straight: tuple[Path, StageResult], small_data: Path):
    folder, _ = straight
    before = (folder / "log.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a run already: mm15 resume .*, or give another --out"):
        start_stage(small_recipe("sft", train=SHORT), folder, small_data)
    assert (folder / "log.jsonl").read_bytes() == before


def test_a_start_that_was_refused_can_be_tried_again(small_data: Path, tmp_path: Path):
    recipe = small_recipe("pretrain", train={"steps": 1})
    with pytest.raises(ConfigError, match="no such file"):
        start_stage(recipe, tmp_path / "run", tmp_path)
    with pytest.raises(ConfigError, match="no parameter starts with it"):
        wrong = small_recipe("pretrain", train={"steps": 1, "optimizer": {"lr_scale": {"visoin": 0.1}}})
        start_stage(wrong, tmp_path / "run", small_data)
    assert start_stage(recipe, tmp_path / "run", small_data).finished
    assert resume_stage(tmp_path / "run").finished
    assert load(Recipe, tmp_path / "run" / "recipe.yaml") == recipe


def test_only_a_run_folder_can_be_resumed(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"is no run folder: it has no recipe\.yaml and run\.json"):
        resume_stage(tmp_path)


def test_a_run_whose_data_changed_is_not_resumed_unseen(small_data: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("images", "tokenizer.json", "words-ocr.jsonl", "scenes_caption.jsonl"):
        (data / name).symlink_to(small_data / name)
    recipe = small_recipe("continual", train={"steps": 4, "accumulation": 1})
    start_stage(recipe, tmp_path / "run", data, hooks=[Terminate(2)])
    rows = (small_data / "words-ocr.jsonl").read_text().splitlines(keepends=True)
    (data / "words-ocr.jsonl").unlink()
    (data / "words-ocr.jsonl").write_text("".join(rows[:-4]))
    with pytest.raises(PlanMismatch, match=r"source words: was 24 rows.*, is 20 rows"):
        resume_stage(tmp_path / "run")
    assert resume_stage(tmp_path / "run", accept_plan=True).finished


def test_the_encoder_stage_trains_encoder_connector_and_words_and_nothing_else(small_data: Path, tmp_path: Path):
    result = start_stage(small_recipe("encoder", train={"steps": 2}), tmp_path / "encoder", small_data)
    assert result.finished and result.tokens == result.tiles * 4 * 4 * len(QUESTIONS)
    trained = load_bundle(tmp_path / "encoder" / "bundle").model
    fresh = MultimodalModel(trained.config)
    fresh.init_weights(0)
    before, after = fresh.state_dict(), trained.state_dict()
    assert before.keys() == after.keys(), "the dense head stays behind"
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    words = {"decoder.embedding.weight"}
    assert words < moved and {name.partition(".")[0] for name in moved - words} == {"vision", "connector"}


def test_another_tile_size_resizes_positions_and_keeps_everything_else(
    straight: tuple[Path, StageResult], small_data: Path, tmp_path: Path
):
    folder, _ = straight
    changed = small_recipe("continual", split={"tile": 24}, train={"steps": 1, "optimizer": {"lr": 1e-30}})
    result = start_stage(changed, tmp_path / "run", small_data, init=folder / "bundle")
    assert result.finished
    old, new = load_bundle(folder / "bundle").model, load_bundle(tmp_path / "run" / "bundle").model
    assert (old.config.vision.image_size, new.config.vision.image_size) == (16, 24)
    assert new.config == old.config.model_copy(
        update={"vision": old.config.vision.model_copy(update={"image_size": 24})}
    )
    before, after = old.state_dict(), new.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        wanted = resize_positions(tensor, 4, 6) if name in TABLES else tensor
        assert torch.allclose(after[name], wanted, rtol=0, atol=1e-20), name
    assert len(after[TABLES[0]]) == 36


def test_a_new_model_sees_the_tiles_of_its_size_and_needs_a_tokenizer(small_data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"split\.tile is 24, size debug sees 16 px"):
        start_stage(small_recipe("sft", split={"tile": 24}), tmp_path / "a", small_data)
    with pytest.raises(ConfigError, match=r"no such file: .*missing\.json \(give --set tokenizer=FILE"):
        start_stage(small_recipe("sft", tokenizer="missing.json"), tmp_path / "b", small_data)


def test_a_wrong_recipe_gives_all_problems_at_once(tmp_path: Path):
    wrong = merge(
        small_values("sft"),
        {
            "stage": "finetune",
            "size": "debugg",
            "max_tokns": 9,
            "split": {"tille": 16, "n_min": 5, "n_max": 4},
            "train": {"steps": "many", "optimizer": {"kind": "adam", "lrr": 1}, "precision": "fp8"},
            "mixture": {"groups": {"single": {"weight": "most"}, "text": {"members": {"text_only": -1}}}},
        },
    )
    wrong["sources"][0] = {"name": "scenes", "path": "x.jsonl", "format": "lava", "categorie": "general"}
    with pytest.raises(ConfigError) as caught:
        load_recipe(write_recipe(tmp_path, wrong), ("window=0", "train.schedule.warmup=-1"))
    told = {problem.partition(": ")[0]: problem for problem in caught.value.problems}
    assert set(told) == {
        "stage",
        "size",
        "max_tokns",
        "split.tille",
        "train.steps",
        "train.optimizer.kind",
        "train.optimizer.lrr",
        "train.precision",
        "train.schedule.warmup",
        "mixture.groups.single.weight",
        "mixture.groups.text",
        "sources.0.format",
        "sources.0.category",
        "sources.0.categorie",
        "window",
    }
    assert "'finetune'" in told["stage"] and "'sft'" in told["stage"]
    assert "did you mean 'debug'" in told["size"] and "found 'debugg'" in told["size"]
    assert "did you mean 'max_tokens'" in told["max_tokns"]
    assert "did you mean 'tile'" in told["split.tille"]
    assert "did you mean 'lr'" in told["train.optimizer.lrr"]
    assert "did you mean 'llava'" in told["sources.0.format"]
    assert "did you mean 'category'" in told["sources.0.categorie"]
    assert "required" in told["sources.0.category"]
    assert "found 'many'" in told["train.steps"] and "found 0" in told["window"]
    assert "text_only is -1" in told["mixture.groups.text"]
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}: 15 problems\n")


def test_an_unknown_recipe_name_gives_the_nearest():
    with pytest.raises(
        ConfigError, match=r"unknown recipe 'sft-mni' \(did you mean 'sft-mini'\?\); shipped: .*pretrain"
    ):
        load_recipe("sft-mni")


def test_empty_categories_zero_ratios_and_strangers_are_named_together(small_data: Path, tmp_path: Path):
    groups = {
        "single": {
            "weight": 0.8,
            "members": {"general": 0, "text_rich": 0, "refer_ground": 0, "math": 0},
        },
        "multi": {"weight": 0.1, "members": {"multi_image": 1, "science": 1}},
        "text": {"weight": 0.1, "members": {"text_onli": 1}},
    }
    values = {**small_values("sft"), "mixture": {"groups": groups}}
    with pytest.raises(ConfigError) as caught:
        start_stage(write_recipe(tmp_path, values), tmp_path / "run", small_data)
    told = "\n".join(caught.value.problems)
    assert "groups.single: the ratios of its members sum to 0, but its weight is 0.8" in told
    assert "groups.multi.members.science: no source has this name or category" in told
    assert "groups.text.members.text_onli: no source has this name or category (did you mean 'text_only'?)" in told


def test_mixture_and_keys_are_told_together(small_data: Path, tmp_path: Path):
    values = small_values("pretrain")
    values["mixture"] = {"shares": {"caption": 1, "science": 1, "interleaved": 1, "text": 1}}
    values["widnow"] = 7
    values["train"] = {**values["train"], "steps": "many"}
    with pytest.raises(ConfigError) as caught:
        start_stage(write_recipe(tmp_path, values), tmp_path / "run", small_data)
    told = "\n".join(caught.value.problems)
    assert "shares.science: no source has this name or category" in told
    assert "widnow: unknown key (did you mean 'window'?)" in told
    assert "train.steps" in told and "'many'" in told


def test_missing_files_are_named_together(small_data: Path, tmp_path: Path):
    values = small_values("pretrain")
    values["sources"] = [{**source, "path": f"no-{source['path']}"} for source in values["sources"]]
    with pytest.raises(ConfigError) as caught:
        mixture_of(write_recipe(tmp_path, values), small_data)
    assert len(caught.value.problems) == 3
    assert all(f"no-{source['path']}" in str(caught.value) for source in STAGES["pretrain"]["sources"])


def test_the_mixture_is_told_without_training(small_data: Path, tmp_path: Path):
    path = write_recipe(tmp_path, small_values("pretrain"))
    rows, text = mixture_of(path, small_data, ("train.steps=40",))
    shares = {row["source"]: row for row in rows}
    assert {name: round(row["share"], 9) for name, row in shares.items()} == {
        "captions": 0.5,
        "interleaved": 0.1,
        "text": 0.4,
    }
    assert shares["text"]["draws"] == pytest.approx(4 * shares["interleaved"]["draws"])
    assert shares["captions"]["epochs"] == pytest.approx(shares["captions"]["draws"] / ROWS)
    header, *lines = text.splitlines()
    assert header.split() == ["group", "category", "source", "rows", "share", "draws", "epochs"]
    assert [line.split()[2:5] for line in lines] == [
        ["captions", "24", "50.0%"],
        ["interleaved", "24", "10.0%"],
        ["text", "24", "40.0%"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]


def test_two_ranks_train_what_one_trains(small_data: Path, tmp_path: Path):
    """Packs of a step are dealt to the ranks; a run that was stopped goes on with another number of them."""
    train = {"steps": 6, "accumulation": 2, "save_every": 2}
    start_stage(small_recipe("sft", train=train), tmp_path / "one", small_data)
    two = small_recipe("sft", train=train, ranks=2)
    stopped = start_stage(two, tmp_path / "two", small_data, hooks=[Terminate(3)])
    assert not stopped.finished and stopped.steps == 3
    kept = load(Recipe, tmp_path / "two" / "recipe.yaml")
    assert kept.ranks == 2 and resume_stage(tmp_path / "two").finished
    wanted, found = log_of(tmp_path / "one"), log_of(tmp_path / "two")
    assert [row["targets"] for row in found] == [row["targets"] for row in wanted]
    for name in ("loss", "grad_norm"):
        assert [row[name] for row in found] == pytest.approx([row[name] for row in wanted], rel=1e-4)


def test_packs_that_cannot_be_dealt_out_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mm15.train.loop.data_place", lambda: (0, 2))
    with pytest.raises(ConfigError, match="3 packs a step cannot be dealt evenly to 2 ranks"):
        packs_per_rank(small_recipe("sft", train={"accumulation": 3}).train)
