"""VL-ICL Bench: demonstrations drawn as the authors draw them, prompts, options, strange rows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mm15.base.errors import ConfigError, DataError
from mm15.evals.benchmark import find, known
from mm15.evals.items import Item, prompt_text
from mm15.evals.results import reported
from official._clips import save_json
from official_fixture import official

NAMES = known("in-context")


def items_of(name: str, root: Path, **options: object) -> list[Item]:
    benchmark = find(name)
    return benchmark.read(benchmark.open(root, partial=True, options=options))


def written(name: str, root: Path, **options: object) -> list[Item]:
    official(name).write(root / name)
    return items_of(name, root, **options)


def by_key(items: list[Item]) -> dict[str, Item]:
    return {item.key.split("/", 1)[1]: item for item in items}


def test_there_are_six():
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_asked_with_every_number_of_shots(name, tmp_path):
    items = written(name, tmp_path)
    shots = [0, 1, 2, 4, 5] if name == "vl-icl-open-mi" else [0, 1, 2, 4, 8]
    assert [item.task for item in items] == [f"{count}-shot" for _ in range(4) for count in shots]
    assert len({item.group for item in items}) == 4
    per_shot = {"vl-icl-open-mi": 2, "vl-icl-matching-mi": 4, "vl-icl-operator-interleaved": 2}.get(name, 1)
    query = 2 if name in ("vl-icl-matching-mi", "vl-icl-operator-interleaved") else 1
    assert [len(item.sample.images) for item in items[:5]] == [query + per_shot * count for count in shots]


def test_the_draw_is_that_of_the_authors_script(tmp_path):
    items = by_key(written("vl-icl-clevr", tmp_path))
    support = json.loads((tmp_path / "vl-icl-clevr" / "support.json").read_text())
    random.seed(0)  # as I2T_inference.py: once, then shots outside and queries inside
    state = {}
    for shots in (0, 1, 2, 4, 8):
        for query in range(4):
            state[f"{query}/{shots}-shot"] = random.sample(support, shots)
    for key, chosen in state.items():
        shown = [Path(part.media.path).name for part in items[key].sample.images[:-1]]
        assert shown == [Path(row["image"][0]).name for row in chosen], key


def test_the_draw_of_two_classes_is_that_of_the_authors_script(tmp_path):
    items = by_key(written("vl-icl-open-mi", tmp_path))
    queries = json.loads((tmp_path / "vl-icl-open-mi" / "query.json").read_text())
    random.seed(0)
    for shots in (0, 1, 2, 4, 5):
        for number, query in enumerate(queries):
            right = query["answer"]
            other = random.choice([name for name in query["classes"] if name != right])
            order = [right, other] if random.choice([True, False]) else [other, right]
            told = "".join(f"<image>\nThis is a\nAnswer: {name}\n" for _ in range(shots) for name in order)
            text = prompt_text(items[f"{number}/{shots}-shot"].sample)
            assert text.endswith(f"single word or phase.\n{told}<image>\nThis is a\nAnswer:"), (shots, number)


def test_prompt_of_an_operator_has_that_operators_results(tmp_path):
    items = by_key(written("vl-icl-operator-interleaved", tmp_path, shots=[2], description="nothing"))
    times = items["2/2-shot"]
    asked = "What is the result of the following mathematical expression?"
    numbers = [int(Path(part.media.path).name.split("_")[0]) for part in times.sample.images[:4:2]]
    told = "".join(f"<image>\n<image>\n{asked}\nAnswer: {n}\n" for n in numbers)
    assert prompt_text(times.sample) == f"\n{told}<image>\n<image>\n{asked}\nAnswer:"
    minus = items["1/2-shot"]
    first = int(Path(minus.sample.images[0].media.path).name.split("_")[0])
    assert f"Answer: {first - 1}\n" in prompt_text(minus.sample)


def test_one_shot_of_matching_is_a_pair_that_matches_and_one_that_does_not(tmp_path):
    item = by_key(written("vl-icl-matching-mi", tmp_path, shots=[1]))["0/1-shot"]
    asked = "Do the two images satisfy the induced relationship?"
    pair = f"<image>\n<image>\n{asked}\nAnswer:"
    assert prompt_text(item.sample).endswith(f'"yes" or "no".\n{pair} Yes\n{pair} No\n{pair}')


def test_the_number_is_the_mean_over_shots(tmp_path):
    items = written("vl-icl-textocr", tmp_path, shots=[0, 4])
    benchmark = find("vl-icl-textocr")
    values = [benchmark.score("exit" if item.task == "4-shot" else "bus", item) for item in items]
    scores = {score.metric: score.value for score in reported(benchmark, values, items)}
    assert scores == {"accuracy": 37.5, "accuracy (0-shot)": 25, "accuracy (4-shot)": 50}


def test_a_negative_result_is_never_met_as_published(tmp_path):
    benchmark = find("vl-icl-operator")
    item = written("vl-icl-operator", tmp_path)[0]
    negative = Item(item.sample, ("-2",))
    assert benchmark.score("-2", negative) == {"accuracy": 0.0}


def test_the_whole_data_set_may_lie_in_the_folder(tmp_path):
    official("vl-icl-clevr").write(tmp_path / "vl-icl-clevr" / "clevr")
    items = items_of("vl-icl-clevr", tmp_path, shots=[1])
    assert all(Path(part.media.path).is_file() for part in items[0].sample.images)
    assert items[0].sample.images[-1].media.path.endswith("vl-icl-clevr/clevr/query/0.png")


@pytest.mark.parametrize("shots", [[], [1, 1], [-1]])
def test_shots_that_are_none(shots, tmp_path):
    with pytest.raises(ConfigError, match="different whole numbers from 0"):
        items_of("vl-icl-clevr", tmp_path, shots=shots)


def test_more_shots_than_demonstrations(tmp_path):
    with pytest.raises(DataError, match=r"12 shots of 9 demonstrations in support\.json; lower shots"):
        written("vl-icl-clevr", tmp_path, shots=[12])
    with pytest.raises(DataError, match="6 shots of 5 pictures of class"):
        written("vl-icl-open-mi", tmp_path, shots=[6])


def test_absent_files(tmp_path):
    official("vl-icl-clevr").write(tmp_path / "vl-icl-clevr")
    (tmp_path / "vl-icl-clevr" / "query" / "2.png").unlink()
    with pytest.raises(DataError, match=r"vl-icl-clevr/2/0-shot: no picture .*2\.png"):
        items_of("vl-icl-clevr", tmp_path)
    (tmp_path / "vl-icl-clevr" / "support.json").unlink()
    with pytest.raises(DataError, match=r"support\.json"):
        items_of("vl-icl-clevr", tmp_path)


def test_strange_rows(tmp_path):
    official("vl-icl-operator").write(tmp_path / "vl-icl-operator")
    path = tmp_path / "vl-icl-operator" / "query.json"
    rows = json.loads(path.read_text())
    save_json(path, [*rows, {**rows[0], "operator": "/"}])
    with pytest.raises(DataError, match="the operator is not as expected"):
        items_of("vl-icl-operator", tmp_path)
    save_json(path, [{name: value for name, value in row.items() if name != "operator"} for row in rows])
    with pytest.raises(DataError, match="no column operator"):
        items_of("vl-icl-operator", tmp_path)
