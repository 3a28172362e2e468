"""A source: addresses, costs that equal what encoding gives, and rows that are refused by name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from data_fixture import small_processor, write_pictures, write_rows, write_texts
from mm15.base.config import validate
from mm15.base.errors import ConfigError, SkipSample
from mm15.data import costs as costs_module
from mm15.data.source import Source, SourceConfig, open_sources
from mm15.processor import Processor


def test_costs_are_what_encoding_gives(tmp_path: Path):
    processor = small_processor()
    for config in (write_pictures(tmp_path, "seen", 12), write_pictures(tmp_path, "unsized", 6, sized=False)):
        source = Source(config, tmp_path)
        costs = source.costs(processor)
        assert costs.dtype == np.int32 and costs.shape == (len(source), 2)
        encoded = [processor.encode(source.sample(row)) for row in range(len(source))]
        assert costs.tolist() == [[sample.num_tokens, sample.num_tiles] for sample in encoded]
        assert min(costs[:, 1]) >= 5


def test_samples_carry_their_passport(tmp_path: Path):
    source = Source(write_texts(tmp_path, "words", 3), tmp_path)
    sample = source.sample(2)
    assert (sample.key, sample.source, str(sample.category)) == ("words/2", "words", "text_only")
    assert sample.messages[0].text.startswith("document 2 ")
    assert source.address(2) == f"{tmp_path / 'words.jsonl'}:3"
    assert pickle.loads(pickle.dumps(source)).sample(1) == source.sample(1)


def test_a_json_array_is_a_source_too(tmp_path: Path):
    rows = [{"conversations": [{"from": "human", "value": f"q{k}"}, {"from": "gpt", "value": "a"}]} for k in range(3)]
    (tmp_path / "chat.json").write_text(json.dumps([*rows, 5]))
    config = SourceConfig.model_validate(
        {"name": "chat", "path": "chat.json", "format": "llava", "category": "text_only"}
    )
    source = Source(config, tmp_path)
    assert len(source) == 4 and source.sample(1).messages[0].text == "q1"
    with pytest.raises(SkipSample, match=r"chat\.json:\[3\]: expected a JSON object"):
        source.sample(3)


def test_broken_rows_cost_nothing_and_are_named_with_line_and_reason(tmp_path: Path):
    config = write_texts(tmp_path, "words", 3)
    with (tmp_path / "words.jsonl").open("a") as file:
        file.write('{"text": ""}\n{"text": broken\n' + json.dumps({"text": "z" * 900}) + "\n")
    source = Source(config, tmp_path)
    for _ in range(2):  # Computed, then read from the sidecar.
        costs, skips = source.scan(small_processor())
        assert (costs[:3] > 0).any(1).all() and costs[3:].tolist() == [[0, 0]] * 3
        assert [skip.row for skip in skips] == [3, 4, 5]
        assert [skip.address for skip in skips] == [f"{tmp_path}/words.jsonl:{line}" for line in (4, 5, 6)]
        assert "must hold some text" in skips[0].reason
        assert "not valid JSON" in skips[1].reason
        assert "max_tokens" in skips[2].reason


def test_costs_are_computed_once_per_processor_and_state_of_the_file(tmp_path: Path, monkeypatch):
    config = write_texts(tmp_path, "words", 5)
    calls = []
    count = Processor.count
    monkeypatch.setattr(Processor, "count", lambda self, sample: calls.append(sample.key) or count(self, sample))
    first = Source(config, tmp_path).costs(small_processor())
    assert len(calls) == 5
    assert np.array_equal(Source(config, tmp_path).costs(small_processor()), first) and len(calls) == 5
    Source(config, tmp_path).costs(small_processor(max_tokens=401))
    assert len(calls) == 10
    write_rows(tmp_path / "words.jsonl", [{"text": "new"}])
    assert len(Source(config, tmp_path).costs(small_processor())) == 1 and len(calls) == 11


def test_a_damaged_sidecar_is_computed_again(tmp_path: Path):
    config = write_texts(tmp_path, "words", 5)
    costs = Source(config, tmp_path).costs(small_processor())
    (sidecar,) = tmp_path.glob("*.costs.npz")
    sidecar.write_bytes(sidecar.read_bytes()[:100])
    assert np.array_equal(Source(config, tmp_path).costs(small_processor()), costs)


def test_many_processes_count_as_one_does(tmp_path: Path, monkeypatch):
    config = write_texts(tmp_path, "words", 40)
    with (tmp_path / "words.jsonl").open("a") as file:
        file.write('{"text": ""}\n')
    source = Source(config, tmp_path)
    alone = costs_module.costs_of(source, small_processor(), len(source))
    monkeypatch.setattr(costs_module, "POOL_FROM", 20)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    together = costs_module.costs_of(source, small_processor(), len(source))
    assert np.array_equal(alone[0], together[0]) and alone[1] == together[1] and alone[1][0][0] == 40


def test_the_fingerprint_knows_the_content_and_not_the_place(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    config = write_texts(tmp_path / "a", "words", 5)
    write_texts(tmp_path / "b", "words", 5)
    one, two = Source(config, tmp_path / "a"), Source(config, tmp_path / "b")
    assert one.fingerprint == two.fingerprint
    path = tmp_path / "b" / "words.jsonl"
    path.write_text(path.read_text().replace("document 4", "document 5"))
    assert Source(config, tmp_path / "b").fingerprint != one.fingerprint


def test_all_problems_of_the_sources_at_once(tmp_path: Path):
    config = write_texts(tmp_path, "words", 2)
    absent = config.model_copy(update={"name": "absent", "path": "absent.jsonl"})
    gone = config.model_copy(update={"name": "gone", "path": "gone.jsonl"})
    with pytest.raises(ConfigError) as error:
        open_sources([config, config, absent, gone], tmp_path)
    assert len(error.value.problems) == 3
    for word in ("two sources are called 'words'", "absent.jsonl", "gone.jsonl"):
        assert word in str(error.value)


def test_an_unknown_format_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"format: unknown format 'lava' \(did you mean 'llava'\?\)"):
        validate(SourceConfig, {"name": "a", "path": "a.jsonl", "format": "lava", "category": "general"})
