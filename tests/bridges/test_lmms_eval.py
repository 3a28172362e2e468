"""lmms-eval itself asks our bundles: its own tasks over local files in their official formats, with no network.

    pip install 'mm15[lmms-eval]'
    pytest -m bridges

Its task files are taken as they are; only where the rows come from is changed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bridge_fixture import debug_bundle
from mm15.bridges.answers import Question, Settings, answer, cut, log_likelihoods, open_bundle
from mm15.evals.request import Request
from mm15.evals.run import evaluate
from official_fixture import official, picture

HAVE = importlib.util.find_spec("lmms_eval") is not None
pytestmark = [
    pytest.mark.bridges,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HAVE, reason="lmms-eval is not installed: pip install 'mm15[lmms-eval]'"),
]
TASKS = ("chartqa", "pope")
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

MESSAGES = """
def messages(doc):
    first, second = doc["image"]
    content = [{"type": "text", "text": "First "}, {"type": "image", "url": first},
               {"type": "text", "text": " then "}, {"type": "image", "url": second},
               {"type": "text", "text": doc["question"]}]
    told = [{"type": "text", "text": "Be short."}]
    return [{"role": "system", "content": told}, {"role": "user", "content": content}]


def visuals(doc):
    return None


def results(doc, results):
    return {"said": float(results[0] == doc["answer"])}
"""
PAIRS = """
task: local_pairs
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_messages: !function utils.messages
doc_to_visual: !function utils.visuals
doc_to_text: question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 9, temperature: 0, do_sample: false, until: ["a"]}}
process_results: !function utils.results
metric_list: [{{metric: said, aggregation: mean, higher_is_better: true}}]
"""
CHOICE = """
task: local_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_visual: !function utils.visuals
doc_to_text: question
doc_to_target: right
doc_to_choice: choices
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@dataclass(frozen=True)
class Place:
    """Files of one session: benchmarks, lmms-eval's tasks over them, a bundle, and what ``mm15 eval`` says."""

    tasks: Path
    bundle: Path
    said: dict[str, list[str]]
    scores: dict[str, float]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("bridge")
    os.environ.update(OFFLINE, HF_HOME=str(folder / "hf"))  # before lmms-eval and datasets read it
    bundle = debug_bundle(folder / "bundle")
    loaded = open_bundle(str(bundle))
    request = Request(str(folder / "data"), TASKS, partial=True)
    for name in TASKS:
        official(name).write(folder / "data" / name)
        _task(name, next((folder / "data" / name).rglob("*.parquet")), folder / "tasks" / name)
    first = evaluate(loaded.model, loaded.processor, request).predictions
    # Of a random model nothing is right. Two of four charts are given the answers that it will give.
    _answered(folder / "data/chartqa", [prediction.answer for prediction in first["chartqa"]][:2])
    report = evaluate(loaded.model, loaded.processor, request)
    said = {name: [prediction.answer for prediction in report.predictions[name]] for name in TASKS}
    return Place(folder / "tasks", bundle, said, {score.benchmark: score.value for score in report.scores})


def _task(name: str, rows: Path, folder: Path) -> None:
    """lmms-eval's task ``name`` as ``local_<name>``, over a Parquet file that says what its columns are."""
    spec = importlib.util.find_spec("lmms_eval")
    assert spec and spec.submodule_search_locations
    theirs = Path(next(iter(spec.submodule_search_locations))) / "tasks" / name
    folder.mkdir(parents=True)
    shutil.copy(theirs / "utils.py", folder / "utils.py")
    text = (theirs / f"{name}.yaml").read_text()
    text, found = re.subn(
        r"\Adataset_path: .*\ndataset_kwargs:\n  token: True\n",
        f"dataset_path: parquet\ndataset_kwargs: {{data_files: {{test: {rows}}}}}\n",
        text,
    )
    assert found == 1, f"{name}.yaml begins differently in this version of lmms-eval"
    (folder / f"local_{name}.yaml").write_text(text.replace(f'task: "{name}"', f'task: "local_{name}"'))
    table = pq.read_table(rows)
    kinds = {
        column: {"_type": "Image"} if column == "image" else {"dtype": "string", "_type": "Value"}
        for column in table.column_names
    }
    described = {"huggingface": json.dumps({"info": {"features": kinds}})}
    pq.write_table(table.replace_schema_metadata(described), rows)


def _answered(folder: Path, answers: list[str]) -> None:
    file = next(folder.rglob("*.parquet"))
    table = pq.read_table(file)
    column = [*answers, *table["answer"].to_pylist()[len(answers) :]]
    at = table.column_names.index("answer")
    pq.write_table(table.set_column(at, table.schema.field("answer"), [column]), file)


def _evaluate(model: Any, tasks: list[str], folder: Path, **options: Any) -> dict[str, Any]:
    evaluator, theirs = importlib.import_module("lmms_eval.evaluator"), importlib.import_module("lmms_eval.tasks")
    manager = theirs.TaskManager(include_path=str(folder))
    return evaluator.simple_evaluate(model=model, tasks=tasks, task_manager=manager, **options)


def _model(name: str, bundle: Path) -> Any:
    return getattr(importlib.import_module("mm15.bridges.lmms_eval"), name)(
        str(bundle), device="cpu", batch_tokens=2000
    )


def _ends(answers: list[str]) -> list[str]:
    """lmms-eval ends answers at an empty line where a task names no end."""
    return [cut(text, ["\n\n"]).strip() for text in answers]


def test_its_python_call_gets_the_answers_and_scores_of_our_own_evaluation(place):
    told = _evaluate(_model("MM15", place.bundle), [f"local_{name}" for name in TASKS], place.tasks)
    for name in TASKS:
        rows = sorted(told["samples"][f"local_{name}"], key=lambda row: row["doc_id"])
        assert [row["filtered_resps"][0].strip() for row in rows] == _ends(place.said[name])
        # POPE's fixture has three questions about each of two pictures, every one twice.
        assert len(set(place.said[name])) == {"chartqa": 4, "pope": 6}[name]
    ours = place.scores["chartqa"]
    assert 100 * told["results"]["local_chartqa"]["relaxed_overall,none"] == pytest.approx(ours) and ours == 50.0
    assert told["results"]["local_pope"]["pope_accuracy,none"] == 0.0


def test_its_command_line_finds_the_model_by_the_entry_point(place, tmp_path):
    group = importlib.metadata.entry_points(group="lmms_eval.models")
    if "mm15" not in group.names:
        pytest.skip("this mm15 is not installed with its entry points: pip install -e .")
    command = [
        sys.executable,
        "-m",
        "lmms_eval",
        "--model",
        "mm15",
        "--model_args",
        f"bundle={place.bundle},device=cpu",
    ]
    command += ["--tasks", "local_chartqa", "--include_path", str(place.tasks)]
    command += ["--batch_size", "1", "--log_samples", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **OFFLINE}, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (tmp_path / "out").rglob("*samples_local_chartqa.jsonl")
    rows = sorted(map(json.loads, log.read_text().splitlines()), key=lambda row: row["doc_id"])
    said = ["".join(row["filtered_resps"]).strip() for row in rows]  # a list of one, or in other versions its element
    assert said == _ends(place.said["chartqa"])
    (results,) = (tmp_path / "out").rglob("*_results.json")
    assert json.loads(results.read_text())["results"]["local_chartqa"]["relaxed_overall,none"] == 0.5


def test_interleaved_pictures_turns_and_stops(place, tmp_path):
    names = [str(tmp_path / f"{n}.png") for n in range(2)]
    for n, name in enumerate(names):
        Path(name).write_bytes(picture(n, 40 + n, 30))
    rows = [{"image": pair, "question": f"What {n}?", "answer": "?"} for n, pair in enumerate((names, names[::-1]))]
    _local(tmp_path, PAIRS, rows)
    told = _evaluate(_model("MM15", place.bundle), ["local_pairs"], tmp_path / "tasks")
    said = [row["filtered_resps"][0] for row in sorted(told["samples"]["local_pairs"], key=lambda row: row["doc_id"])]
    questions = []
    for row in rows:
        first, second = (("image", name) for name in row["image"])
        pieces = (("text", "First "), first, ("text", " then "), second, ("text", row["question"]))
        questions.append(Question("any/key", (("system", (("text", "Be short."),)), ("user", pieces))))
    bundle = open_bundle(str(place.bundle), "cpu")
    wanted = answer(bundle, questions, Settings(9, until=("a",)), print)
    assert said == wanted and wanted[0] != wanted[1]


def test_multiple_choice_by_likelihood(place, tmp_path):
    choices = ["yes", "no", "0"]
    bundle = open_bundle(str(place.bundle), "cpu")
    asked = [Question("any/key", (("user", (("text", f"Is there {n}?"),)),)) for n in range(6)]
    chances = [log_likelihoods(bundle, [(question, choice) for choice in choices]) for question in asked]
    best = [max(range(3), key=lambda k, row=row: row[k][0]) for row in chances]
    right = [*best[:4], *((k + 1) % 3 for k in best[4:])]
    rows = [{"question": f"Is there {n}?", "choices": choices, "right": k} for n, k in enumerate(right)]
    _local(tmp_path, CHOICE, rows)
    told = _evaluate(_model("MM15Simple", place.bundle), ["local_choice"], tmp_path / "tasks")
    assert told["results"]["local_choice"]["acc,none"] == pytest.approx(4 / 6)


def _local(folder: Path, task: str, rows: list[dict[str, Any]]) -> None:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tasks").mkdir()
    (folder / "tasks/utils.py").write_text(MESSAGES)
    (folder / "tasks/local.yaml").write_text(task.format(file=file))
