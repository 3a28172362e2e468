"""A small real data set, written by the builders, and a small recipe of each stage for it."""

from __future__ import annotations

import os
import signal
import string
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from mm15.base.config import merge, validate
from mm15.build import interleaved, math_items, pairs, scenes, text_only, words
from mm15.build._items import Form
from mm15.build.materials import Materials
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from mm15.train.recipe import Recipe

ROWS = 24
BUILDS = (
    partial(scenes.build, kind="caption"),
    partial(scenes.build, kind="general", turns=2),
    partial(scenes.build, kind="refer_ground", turns=2),
    interleaved.build,
    text_only.build,
    partial(words.build, form=Form.OCR, page_share=0),
    partial(words.build, page_share=0),
    math_items.build,
    pairs.build,
)


def build_small_data(out: Path) -> Path:
    """``ROWS`` rows of most kinds, from drawings and typefaces alone, and the tokenizer."""
    materials = Materials()
    for build in BUILDS:
        build(out, "train", ROWS, 0, materials, workers=1)
    train_tokenizer([string.printable], SPECIALS).save(out / "tokenizer.json")
    return out


def source(name: str, path: str, format: str, category: str) -> dict[str, str]:
    return {"name": name, "path": path, "format": format, "category": category}


CAPTIONS = source("captions", "scenes_caption.jsonl", "llava", "caption")
REGIONS = source("regions", "scenes_refer_ground.jsonl", "ferret-json", "refer_ground")
OCR = source("words", "words-ocr.jsonl", "docowl-jsonl", "ocr")

STAGES: dict[str, dict[str, Any]] = {
    "encoder": {
        "split": {"mode": "dynamic"},
        "other_splits": [{"mode": "none", "tile": 16}],
        "sources": [REGIONS, OCR],
        "mixture": {"shares": "equal"},
        "train": {"pack_tokens": 2304, "optimizer": {"kind": "muon", "lr": 2e-3}},
    },
    "pretrain": {
        "split": {"mode": "none"},
        "sources": [
            CAPTIONS,
            source("interleaved", "interleaved.jsonl", "interleaved", "interleaved"),
            source("text", "text.jsonl", "text", "text"),
        ],
        "mixture": {"shares": {"caption": 50, "interleaved": 10, "text": 40}},
        "train": {"optimizer": {"kind": "adafactor", "lr": 2e-3}},
    },
    "continual": {
        "split": {"mode": "static"},
        "sources": [OCR, {**CAPTIONS, "category": "ocr"}],
        "mixture": {"shares": "equal"},
        "train": {"accumulation": 2, "optimizer": {"kind": "adamw", "lr": 2e-3, "weight_decay": 0.1}},
    },
    "sft": {
        "split": {"mode": "dynamic"},
        "sources": [
            source("scenes", "scenes_general.jsonl", "llava", "general"),
            source("words", "words.jsonl", "llava", "text_rich"),
            REGIONS,
            source("math", "math.jsonl", "llava", "math"),
            source("pairs", "pairs.jsonl", "llava", "multi_image"),
            source("text-only", "text-only.jsonl", "llava", "text_only"),
        ],
        "mixture": {
            "groups": {
                "single": {
                    "weight": 0.8,
                    "members": {"general": 1, "text_rich": 3.29, "refer_ground": 2, "math": 0.5},
                },
                "multi": {"weight": 0.1, "members": {"multi_image": 1}},
                "text": {"weight": 0.1, "members": {"text_only": 1}},
            }
        },
        "train": {"optimizer": {"kind": "muon", "lr": 2e-3, "weight_decay": 0.01}},
    },
}


def small_values(stage: str, **changes: Any) -> dict[str, Any]:
    """The values of a small recipe: size debug, tiles of 16 px, 20 steps."""
    common = {
        "name": f"small-{stage}",
        "stage": stage,
        "size": "debug",
        "split": {"tile": 16},
        "max_tokens": 700,
        "window": 64,
        "workers": 0,
        "train": {
            "steps": 20,
            "pack_tokens": 768,
            "pack_tiles": 32,
            "precision": "fp32",
            "save_every": 8,
            "log_every": 20,
        },
    }
    return deepcopy(merge(merge(common, STAGES[stage]), changes))


def small_recipe(stage: str, **changes: Any) -> Recipe:
    """``small_values`` as a recipe."""
    return validate(Recipe, small_values(stage, **changes))


class Terminate:
    """A hook that sends this process SIGTERM in one step; the loop then finishes it, saves and returns."""

    def __init__(self, step: int) -> None:
        self.every = step

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"asked_to_stop": True}
