"""Imports go down: read the syntax trees and enforce the floors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import mm15

SOURCE = Path(mm15.__file__).parent
FLOORS = [
    {"base"},
    {"io", "images", "text", "model", "pages", "dist"},
    {"clips"},
    {"processor", "interop"},
    {"bundle", "datasets", "build"},
    {"data", "generate"},
    {"train", "evals", "transfer"},
    {"stage", "plan", "curate"},
    {"ablate", "bridges", "serve", "quickstart", "doctor"},
    {"cli", "__init__"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LATE_IMPORTS_ALLOWED = {"cli", "__init__"}
OPTIONAL_PACKAGES = {
    "pypdfium2",
    "transformers",
    "pyarrow",
    "ray",
    "zstandard",
    "av",
    "tensorboard",
    "wandb",
    "trackio",
}


def room_of(path: Path) -> str:
    return room(path.relative_to(SOURCE).parts[0].removesuffix(".py"))


def room(name: str) -> str:
    """``cli_data`` and its like are parts of the room ``cli``."""
    return "cli" if name.startswith("cli_") else name


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "assets" not in path.parts)


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        if node.module == "mm15":
            return [f"mm15.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def test_every_room_has_a_floor():
    assert {room_of(path) for path in modules()} <= set(FLOOR_OF)


def test_imports_go_to_a_strictly_lower_floor_or_stay_in_the_room():
    wrong = []
    for path in modules():
        here = room_of(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported(node):
                if not name.startswith("mm15."):
                    continue
                there = room(name.split(".")[1])
                if there != here and FLOOR_OF[there] >= FLOOR_OF[here]:
                    wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno} imports {name}")  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)


def test_no_late_imports_but_optional_packages():
    wrong = []
    for path in modules():
        if room_of(path) in LATE_IMPORTS_ALLOWED:
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                for name in imported(node):
                    if name.split(".")[0] not in OPTIONAL_PACKAGES:
                        wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno} imports {name} late")  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)


def test_no_file_of_the_package_is_over_400_lines():
    long = {str(path.relative_to(SOURCE)): n for path in modules() if (n := len(path.read_text().splitlines())) > 400}
    assert not long, long


def test_the_model_knows_no_file_and_no_tokenizer():
    for path in (SOURCE / "model").glob("*.py"):
        names = {n for node in ast.walk(ast.parse(path.read_text())) for n in imported(node)}
        assert not any(n.startswith(("mm15.io", "mm15.text", "tokenizers", "PIL")) for n in names), path


def test_reading_and_checking_rows_needs_no_torch():
    # It is most of the memory of a process that checks rows, and most of the time such a process takes to start.
    rooms = ["check", "clean", "convert", "costs", "mixture", "open", "source"]
    formats = sorted(path.stem for path in (SOURCE / "datasets").glob("*.py") if path.stem != "__init__")
    named = ", ".join([*(f"mm15.data.{room}" for room in rooms), *(f"mm15.datasets.{name}" for name in formats)])
    code = f"import sys, {named}; print([name for name in sys.modules if name.split('.')[0] == 'torch'][:3])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_harnesses_are_imported_by_their_bridges_alone_and_these_by_nobody():
    # lmms-eval and VLMEvalKit are no dependencies: a class that derives from theirs may be imported by them only.
    theirs = {"lmms_eval", "vlmeval"}
    needing: dict[Path, set[str]] = {}
    everything: dict[Path, set[str]] = {}
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        everything[path] = {name for node in ast.walk(tree) for name in imported(node)}
        if found := {name.split(".")[0] for name in everything[path]} & theirs:
            needing[path] = found
    assert {found for names in needing.values() for found in names} == theirs
    assert {room_of(path) for path in needing} == {"bridges"}
    closed = {".".join(("mm15", *path.relative_to(SOURCE).with_suffix("").parts)) for path in needing}
    wrong = {str(path.relative_to(SOURCE)): names & closed for path, names in everything.items() if names & closed}
    assert not wrong, wrong
