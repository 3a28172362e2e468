"""The names that users and later work rely on."""

from __future__ import annotations

import importlib
import inspect

import pytest
from typer.main import get_command

import mm15
from mm15.cli import app

NAMES = {
    "mm15.images.split": ["choose_grid", "split_image", "SplitPolicy", "Grid"],
    "mm15.processor": ["Processor"],
    "mm15.model.connector": ["CAbstractor", "AveragePool", "AttentionPool", "PatchMLP", "PixelShuffle"],
    "mm15.data.planner": ["Planner"],
    "mm15.data.mixture": ["Mixture"],
    "mm15.evals.scoring": [
        "anls",
        "relaxed_accuracy",
        "vqa_accuracy",
        "exact_match",
        "box_iou",
        "cider",
        "extract_choice",
    ],
    "mm15.bundle": ["load_bundle", "save_bundle", "Bundle"],
    "mm15.generate.chat": ["Chat", "Reply"],
    "mm15.base.types": ["Message", "Sample", "Category", "Box", "Point"],
    "mm15.base.batch": ["EncodedSample", "PackedBatch"],
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names_exist_and_are_documented(module: str):
    loaded = importlib.import_module(module)
    for name in NAMES[module]:
        assert inspect.getdoc(getattr(loaded, name)), f"{module}.{name} has no docstring"


def test_the_front_door():
    assert mm15.__all__ == ["__version__", "load"]
    assert next(iter(inspect.signature(mm15.load).parameters)) == "folder"


def test_verbs_take_json():
    group = get_command(app)
    verbs = dict(group.commands)  # type: ignore[attr-defined]
    assert {"quickstart", "doctor", "train", "resume", "eval", "chat", "mix", "data"} <= set(verbs)
    for name, command in verbs.items():
        for leaf in getattr(command, "commands", {name: command}).values():
            assert any("--json" in parameter.opts for parameter in leaf.params), f"{name} {leaf.name} has no --json"
