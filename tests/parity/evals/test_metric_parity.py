"""Every metric against a public implementation on 5,400 pairs: recorded outputs always, the live one where it is.

``MM15_ORACLE`` names the Python of the oracles' environment and ``MM15_ORACLE_SOURCES`` the folder of further sources;
``oracle.py`` says how to make both. To record again, run it with tests/assets/evals as the output folder.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the oracles run these files as scripts: they import by bare name
import make_pairs
import ours
from disagreements import CRASH, DISAGREEMENTS

RECORDED = Path(__file__).parents[2] / "assets" / "evals"


def recorded(name: str, folder: Path = RECORDED) -> dict[str, Any]:
    return json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))


def above_zero(pair: Any, output: Any) -> bool:
    """Whether the reference gives this pair any credit; a letter or word must be the wanted one."""
    if isinstance(output, str):
        return output == pair["r"] if isinstance(pair, dict) else bool(output) and output != CRASH
    if isinstance(output, list):
        return any(isinstance(value, (int, float)) and value > 0 for value in output)
    return bool(output and output > 0)


@pytest.mark.parametrize("name", make_pairs.NAMES)
def test_equal_to_the_reference_but_for_the_accepted_disagreements(name: str):
    items, record = make_pairs.pairs(name), recorded(name)
    assert record["pairs"] == make_pairs.digest(items), "the pairs changed: record the references' outputs again"
    theirs = record["outputs"]
    assert len(items) == len(theirs) >= (5000 if name != "cider" else 80)
    assert sum(map(above_zero, items, theirs)) >= 0.3 * len(items), "too few pairs that the reference gives credit for"
    rules = [rule for rule in DISAGREEMENTS if rule.metric == name]
    used: Counter[str] = Counter()
    for item, mine, other in zip(items, ours.outputs(name, items), theirs, strict=True):
        if not ours.same(mine, other):
            reasons = [rule.why for rule in rules if rule.accepts(item, mine, other)]
            assert reasons, f"a new disagreement on {item!r}: ours {mine!r}, theirs {other!r}"
            used.update(reasons)
    assert set(used) == {rule.why for rule in rules}, "a rule that accepts nothing should go"


def test_cider_of_the_whole_set_equals_the_reference():
    items, theirs = make_pairs.pairs("cider"), recorded("cider")["outputs"]
    score = ours.s.cider([item["p"] for item in items], [item["r"] for item in items]).score
    assert score == pytest.approx(sum(output[2] for output in theirs) / len(theirs), abs=1e-9)
    on_tokens = ours.s.cider([output[0] for output in theirs], [output[1] for output in theirs], tokenise=False)
    assert on_tokens.score == pytest.approx(score, abs=1e-9)


def test_every_rule_names_a_metric_and_who_is_right():
    assert {rule.metric for rule in DISAGREEMENTS} <= set(make_pairs.NAMES)
    assert {rule.right for rule in DISAGREEMENTS} <= {"ours", "theirs", "both"}


@pytest.mark.skipif("MM15_ORACLE" not in os.environ, reason="MM15_ORACLE names no environment with the oracles")
def test_the_recorded_outputs_are_the_live_ones(tmp_path: Path):
    script = Path(__file__).with_name("oracle.py")
    command = [os.environ["MM15_ORACLE"], str(script), os.environ["MM15_ORACLE_SOURCES"], str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for name in make_pairs.NAMES:
        assert recorded(name, tmp_path) == recorded(name), name
