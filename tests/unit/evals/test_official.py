"""Every benchmark that reads official files: a walk over tiny copies in the official format."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mm15.base.errors import DataError
from mm15.evals.benchmark import Benchmark, find, known
from mm15.evals.items import Item
from mm15.evals.request import Request
from mm15.evals.results import item_values, reported
from mm15.evals.run import evaluate
from mm15.evals.table import Table
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from official_fixture import official, written

NAMES = [name for name in known() if find(name).suite != "mini"]
MARKS = {"video": [pytest.mark.video], "ui": [pytest.mark.ui]}
CASES = [pytest.param(name, marks=MARKS.get(find(name).suite, [])) for name in NAMES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("official")
    for name in written():
        official(name).write(root / name)
    return root


@pytest.fixture(scope="module")
def processor() -> Processor:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=20_000)
    return Processor(config, train_tokenizer(["what is the color?"], SPECIALS))


@pytest.fixture(scope="module")
def model(processor: Processor) -> MultimodalModel:
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return model


def items_of(name: str, root: Path) -> tuple[Benchmark, list[Item]]:
    benchmark = find(name)
    return benchmark, benchmark.read(benchmark.open(root, partial=True))


def total(benchmark: Benchmark, answers: list[str], items: list[Item]) -> float:
    table = Table(benchmark.score_all(answers, items), [item.task for item in items])
    return float(benchmark.combine(table)[benchmark.metric][0])


def test_every_benchmark_has_its_official_files_here():
    assert sorted(NAMES) == written()


@pytest.mark.parametrize("name", CASES)
def test_items_are_questions_with_right_answers(name: str, folders: Path):
    benchmark, items = items_of(name, folders)
    assert len(items) >= 4
    assert len({item.key for item in items}) == len(items)
    assert all(item.key.startswith(f"{benchmark.name}/") for item in items)
    assert all(item.references or benchmark.judge_prompts for item in items)


@pytest.mark.parametrize("name", [case for case in CASES if find(str(case.values[0])).judge_prompts is None])
def test_perfect_and_constant_answers_get_what_arithmetic_says(name: str, folders: Path):
    benchmark, items = items_of(name, folders)
    module = official(name)
    assert total(benchmark, [benchmark.perfect(item) for item in items], items) == pytest.approx(
        getattr(module, "PERFECT", 100.0)
    )
    assert "" in module.ALWAYS and len(module.ALWAYS) >= 2
    for answer, wanted in module.ALWAYS.items():
        assert total(benchmark, [answer] * len(items), items) == pytest.approx(wanted), answer


@pytest.mark.parametrize("name", CASES)
def test_a_run_from_the_files_to_the_score(name: str, folders: Path, model, processor, tmp_path):
    benchmark, items = items_of(name, folders)
    report = evaluate(model, processor, Request(str(folders), (name,), partial=True, limit=6), tmp_path)
    kept = report.predictions[name]
    assert [prediction.key for prediction in kept] == [item.key for item in items[:6]]
    assert [prediction.error for prediction in kept if prediction.error] == []
    if benchmark.judge_prompts:
        assert report.not_judged == [name] and report.scores == []
        return
    primary = report.scores[0]
    assert (primary.benchmark, primary.metric) == (name, benchmark.metric)
    values = item_values(benchmark, kept, items[:6])
    assert reported(benchmark, values, items[:6])[0] == primary


@pytest.mark.parametrize("name", CASES)
def test_other_files_than_the_official_ones_are_refused(name: str, folders: Path, tmp_path):
    benchmark = find(name)
    with pytest.raises(DataError, match=re.escape(name)):
        benchmark.read(benchmark.open(tmp_path))
    whole = benchmark.open(folders)
    try:
        benchmark.read(whole)
    except DataError as error:
        assert re.search(r"\d+ rows? where the official|\d+ .* where the official", str(error)), str(error)
    tables = sorted((folders / name).rglob("*.parquet"))
    if not tables:
        return
    place = tmp_path / name / tables[0].relative_to(folders / name)
    place.parent.mkdir(parents=True)
    table = pq.read_table(tables[0])
    gone = next(column for column in table.column_names if column in ("question", "answer", "image", "image_1"))
    pq.write_table(table.drop_columns([gone]), place)
    with pytest.raises(DataError, match=f"no column .*{gone}"):
        benchmark.read(benchmark.open(tmp_path, partial=True))
