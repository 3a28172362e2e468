"""VLMEvalKit itself asks our bundles about a local table, with no network.

pip install ms-vlmeval
pytest -m bridges
"""

from __future__ import annotations

import base64
import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_fixture import debug_bundle
from mm15.bridges.answers import Question, Settings, answer, open_bundle
from official_fixture import base64_picture, tsv

HAVE = importlib.util.find_spec("vlmeval") is not None
pytestmark = [
    pytest.mark.bridges,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HAVE, reason="VLMEvalKit is not installed: pip install ms-vlmeval"),
]
PROMPT = "Question: {question}\nOptions:\nA. {A}\nB. {B}\nPlease select the correct answer from the options above. \n"


def test_its_launcher_asks_a_table_of_ours(tmp_path: Path):
    rows = [
        {"index": n, "image": base64_picture(n, 48 + n, 32), "question": f"Is it {n}?", "A": "yes", "B": "no"}
        for n in range(3)
    ]
    folder = debug_bundle(tmp_path / "bundle")
    bundle = open_bundle(str(folder), "cpu")
    questions = [
        Question("any/key", (("user", (("image", base64.b64decode(row["image"])), ("text", PROMPT.format(**row)))),))
        for row in rows
    ]
    wanted = answer(bundle, questions, Settings(), print)
    assert len(set(wanted)) == 3
    tsv(tmp_path / "LocalChoice.tsv", [{**row, "answer": "A"} for row in rows])
    environment = {**os.environ, "LMUData": str(tmp_path), "HF_HUB_OFFLINE": "1", "PRED_FORMAT": "tsv"}
    command = [sys.executable, "-m", "mm15.bridges.vlmevalkit", str(folder), "--data", "LocalChoice"]
    command += ["--work-dir", str(tmp_path / "out"), "--mode", "infer"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=850)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = sorted((tmp_path / "out").rglob("mm15_LocalChoice.tsv"))
    assert found, done.stdout[-3000:] + done.stderr[-3000:]
    with found[-1].open(encoding="utf-8", newline="") as file:
        assert [row["prediction"] for row in csv.DictReader(file, delimiter="\t")] == wanted
