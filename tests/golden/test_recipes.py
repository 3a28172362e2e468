"""Every shipped recipe, flattened, is the golden text beside this file: no value changes unseen."""

from __future__ import annotations

import difflib

import pytest

from golden_fixture import FOLDER, HINT, UPDATE, golden_text
from mm15.base.config import flatten
from mm15.data.open import shipped_recipes
from mm15.train.recipe import load_recipe

TEXTS = FOLDER / "recipes"


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_recipe_is_its_golden_text(name: str):
    made = "\n".join(flatten(load_recipe(name))) + "\n"
    kept = golden_text(TEXTS / f"{name}.txt", made)
    changed = [line for line in difflib.ndiff(kept.splitlines(), made.splitlines()) if line[0] in "+-"]
    assert not changed, "\n".join([f"recipe {name} is not its golden text (- golden, + now):", *changed, HINT])


def test_no_golden_text_is_without_its_recipe():
    gone = [path for path in TEXTS.glob("*.txt") if path.stem not in shipped_recipes()]
    if UPDATE:
        for path in gone:
            path.unlink()
    else:
        assert not gone, f"no such recipe: {', '.join(path.stem for path in gone)}. {HINT}"
