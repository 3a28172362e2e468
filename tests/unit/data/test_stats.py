"""What is counted in data sets, from sizes alone: by source and category, as numbers, text and a page."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from data_fixture import small_processor, write_rows, write_texts
from film_fixture import small_film
from mm15.base.batch import IGNORE
from mm15.cli import app
from mm15.data.costs import over_rows
from mm15.data.open import Opened, open_path
from mm15.data.reading import NO_LIMIT, reader_of
from mm15.data.source import Source, SourceConfig
from mm15.data.stats import Counts, as_page, as_text, collect, count_rows, quantiles
from mm15.dist.map import Engine


@pytest.fixture
def pictures(tmp_path: Path) -> Source:
    """A picture that is not there but has sizes, two pictures in a row, no picture, and a row that is broken."""
    rows = [
        {"image": "none.png", "width": 40, "height": 20, "conversations": turns("<image>what?", "it")},
        {"image": ["a.png", "b.png"], "conversations": turns("<image><image>same?", "no, they differ")},
        {"conversations": turns("hello", "hello there")},
        {"image": "a.png", "conversations": turns("what?", "lost")},
    ]
    Image.new("RGB", (50, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 60)).save(tmp_path / "b.png")
    write_rows(tmp_path / "p.jsonl", rows)
    config = {"name": "p", "path": "p.jsonl", "format": "llava", "category": "general"}
    return Source(SourceConfig.model_validate(config), tmp_path)


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def test_counts_are_those_of_encoding(pictures: Source, tmp_path: Path):
    Image.new("RGB", (40, 20)).save(tmp_path / "none.png")  # for encoding only; counting needs it not
    processor = small_processor()
    encoded = [processor.encode(pictures.sample(index)) for index in range(3)]
    (tmp_path / "none.png").unlink()
    counts = count_rows(pictures, processor, range(4))
    assert (counts.samples, counts.unusable, counts.images) == (3, 1, 3)
    assert counts.tokens == sum(sample.num_tokens for sample in encoded)
    assert counts.tiles == sum(sample.num_tiles for sample in encoded)
    assert counts.text_tokens == counts.tokens - 4 * counts.tiles
    labels = [int((sample.labels_T != IGNORE).sum()) for sample in encoded]
    assert counts.supervised_tokens == sum(labels)
    assert counts.spreads["supervised"] == Counter(labels)
    assert counts.spreads["tokens"] == Counter(sample.num_tokens for sample in encoded)
    assert counts.spreads["pictures"] == {1: 1, 2: 1, 0: 1}
    assert counts.spreads["longer_side"] == {40: 1, 50: 1, 60: 1}
    assert counts.spreads["shorter_side"] == {20: 2, 30: 1}
    assert counts.spreads["aspect"] == {2.0: 1, 1.67: 1, 0.33: 1}
    assert counts.skips == [f"{tmp_path}/p.jsonl:4: 0 <image> placeholders for 1 pictures"]


@pytest.mark.video
def test_clips_are_counted_by_their_frames(tmp_path: Path):
    small_film(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no film")
    rows = [{"video": name, "conversations": turns("<video>\nWhat?", "A cup.")} for name in ("a.mp4", "b.mp4")]
    write_rows(tmp_path / "a.jsonl", rows)
    config = {"name": "s", "path": "a.jsonl", "format": "llava", "category": "video"}
    source, processor = Source(SourceConfig.model_validate(config), tmp_path), small_processor()
    counts = count_rows(source, processor, range(2))
    encoded = processor.encode(source.sample(0))
    assert (counts.samples, counts.unusable, counts.images, counts.tiles) == (1, 1, 24, 24)
    assert counts.tokens == encoded.num_tokens and counts.spreads["longer_side"] == {40: 24}
    assert "b.mp4: not a readable film" in counts.skips[0]
    costs_R2, skips = source.scan(processor)
    assert costs_R2.tolist() == [[encoded.num_tokens, 24], [0, 0]] and len(skips) == 1


def test_a_document_without_a_start_token_has_one_label_less(tmp_path: Path):
    source = Source(write_texts(tmp_path, "t", 1), tmp_path)
    processor = small_processor()
    template = processor.config.template.model_copy(update={"bos": ""})
    bare = type(processor)(processor.config.model_copy(update={"template": template}), processor.tokenizer)
    for made in (processor, bare):
        sample = source.sample(0)
        assert made.measure(sample).trained == int((made.encode(sample).labels_T != IGNORE).sum())


def test_categories_are_sums_and_parts_may_be_counted_apart(pictures: Source, tmp_path: Path):
    texts = Source(write_texts(tmp_path, "t", 30), tmp_path)
    processor = small_processor()
    said: list[str] = []
    stats = collect([pictures, texts], processor, "one token a letter", said.append)
    assert said == ["p: 4 samples", "t: 30 samples"]
    assert list(stats.categories) == ["general", "text_only"]
    assert stats.total.samples == 33 and stats.total.tokens == sum(c.tokens for c in stats.categories.values())
    assert stats.categories["text_only"].images == 0
    parts = [pickle.loads(pickle.dumps(count_rows(texts, processor, range(n, n + 10)))) for n in (0, 10, 20)]
    whole = Counts()
    for part in parts:
        whole.add(part)
    assert whole == stats.sources[1].counts


def test_parts_of_rows_in_order():
    assert list(over_rows(list, 5)) == [[0, 1, 2, 3, 4]]
    assert list(over_rows(len, 25, Engine(workers=1), pool_from=100)) == [10, 10, 5]


def test_who_works_changes_no_count_and_no_byte_of_the_page(tmp_path: Path, ray: Engine):
    write_texts(tmp_path, "one", 4100)
    told = ["data", "stats", str(tmp_path / "one.jsonl"), "--format", "text", "--category", "text_only", "--json"]
    found = []
    for how in (["--workers", "1"], ["--workers", "2"], ["--engine", "ray", "--workers", "2"]):
        done = CliRunner().invoke(app, [*told, "--out", str(tmp_path / "page.html"), *how])
        assert done.exit_code == 0, (done.output, done.exception)
        found.append((json.loads(done.stdout), (tmp_path / "page.html").read_bytes()))
    assert found[0] == found[1] == found[2] and found[2][0]["total"]["samples"] == 4100


def test_quantiles_are_exact():
    told = quantiles(Counter(range(1, 101)))
    assert told == {"mean": 50.5, "min": 1, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "p99": 99, "max": 100}
    assert quantiles({7: 3})["p50"] == 7 and quantiles({}) == {}


def test_text_and_page(pictures: Source, tmp_path: Path):
    texts = Source(write_texts(tmp_path, "<b>texts", 30), tmp_path)
    stats = collect([pictures, texts], small_processor(), "told in words")
    text = as_text(stats)
    head, first, second, *rest = text.splitlines()
    assert head.split()[:4] == ["source", "category", "samples", "unusable"]
    assert first.split()[:5] == ["p", "general", "3", "1", "3"]
    assert second.split()[0] == "<b>texts" and second.split()[-1] == "-"
    assert [line.split()[:2] for line in rest[:3]] == [["=", "general"], ["=", "text_only"], ["=", "all"]]
    assert rest[3] == "(told in words)" and rest[4].startswith("  unusable: ") and "p.jsonl:4: 0 <image>" in rest[4]
    page = as_page(stats, "Statistics of <i>")
    assert "&lt;b&gt;texts" in page and "<b>texts" not in page and "<i>" not in page and "<script" not in page
    assert "0 &lt;image&gt; placeholders for 1 pictures" in page
    assert ">60 px" not in page and "60: 1 (33.3 %)" in page  # the bar of one picture with a longer side of 60


def test_no_usable_sample(tmp_path: Path):
    write_rows(tmp_path / "x.jsonl", [{"nothing": 1}])
    opened = open_path(tmp_path / "x.jsonl", "text", "text")
    stats = collect(opened.sources, reader_of(opened).processor)
    assert stats.total.samples == 0 and "No sample that can be used." in as_page(stats, "t")
    assert as_text(stats).splitlines()[1].split() == ["x", "text", "0", "1", "0", "0", "0", "0", "-", "-", "-", "-"]


def test_the_reader_of_a_recipe_a_bundle_and_neither(tmp_path: Path, small_data: Path):
    bare = reader_of(Opened([], {}, tmp_path))
    assert bare.told.startswith("no tokenizer was given or found beside the data: every character is a token")
    assert (bare.processor.config.split.tile, bare.processor.config.max_tokens) == (672, NO_LIMIT)
    beside = reader_of(Opened([], {"size": "debug", "split": {"tile": 16}, "max_tokens": 9}, small_data))
    assert beside.told == f"tokens of {small_data}/tokenizer.json; the split of the recipe"
    assert (beside.processor.tokens_per_tile, beside.processor.config.max_tokens) == (4, 9)
    foreign = beside.processor.tokenizer
    (tmp_path / "bundle").mkdir()
    foreign.save(tmp_path / "bundle" / "tokenizer.json")
    (tmp_path / "bundle" / "processor.json").write_text(beside.processor.config.model_dump_json(), encoding="utf-8")
    bundled = reader_of(Opened([], {}, tmp_path), tmp_path / "bundle")
    assert (bundled.processor.config.split.tile, bundled.processor.tokens_per_tile) == (16, 4)
    assert bundled.processor.config.max_tokens == NO_LIMIT and bundled.told.endswith("the split of the bundle")


def test_the_reader_refuses(tmp_path: Path):
    from mm15.base.errors import ConfigError

    for given, told in ((tmp_path / "no.json", "no such tokenizer"), (tmp_path, "not a bundle")):
        with pytest.raises(ConfigError, match=told):
            reader_of(Opened([], {}, tmp_path), given)
    with pytest.raises(ConfigError, match="unknown size"):
        reader_of(Opened([], {"size": "huge"}, tmp_path))


def test_the_verb(tmp_path: Path, small_data: Path):
    arguments = ["data", "stats", str(small_data / "words.jsonl"), "--format", "llava", "--category", "text_rich"]
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(app, [*arguments, "--out", str(page)], catch_exceptions=False)
    assert shown.exit_code == 0 and "words   text_rich" in shown.stdout and f"plots: {page}" in shown.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert told["total"]["samples"] == 24 == told["sources"][0]["images"]
    assert told["categories"]["text_rich"]["spreads"]["pictures"]["mean"] == 1.0
