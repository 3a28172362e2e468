"""Recaptioning: every picture once, half-written files continued, bad ones told, the same set in any parts."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from data_fixture import write_pictures, write_rows, write_tar
from mm15.base.errors import BundleError, ConfigError, DataError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import Category, MediaRef, Role
from mm15.bundle import Bundle, load_bundle, save_bundle
from mm15.cli import app
from mm15.curate import captioner as module
from mm15.curate.pictures import FolderPictures, SourcePictures, copy_picture, pictures_of
from mm15.curate.recaption import Settings, defect, digest_of, parse_part, recaption
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import ChunkError, Engine
from mm15.generate.engine import Generation
from mm15.images.split import SplitPolicy
from mm15.model.multimodal import MultimodalModel
from mm15.model.sizes import SIZES, with_vocab
from mm15.processor import Processor, ProcessorConfig
from mm15.stage import start_stage
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from stage_fixture import small_recipe

TWO = Engine(workers=2)
NAMES = ("dog", "dog", "dog", "key", "dog", "dog", "bus", "dog", "dog", "dog")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    config = ProcessorConfig(split=SplitPolicy(tile=16), tokens_per_tile=4, max_tokens=600)
    processor = Processor(config, train_tokenizer(["a dog, a key and a bus?"], SPECIALS))
    model = MultimodalModel(with_vocab(SIZES["debug"], processor.tokenizer.vocab_size, processor.image_token))
    model.init_weights(seed=0)
    return Bundle(model, processor, {}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(10):
        place = tmp_path / "pictures" / ("a", "b")[number // 5]
        place.mkdir(parents=True, exist_ok=True)
        pixels = numpy_rng(0, number).integers(0, 255, (20 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / ".hidden.png").write_bytes(b"")
    return tmp_path / "pictures"


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch):
    """Captions by picture number, put into the model's mouth; ``says.asked`` holds the batches."""

    class Mouth:
        def __init__(self) -> None:
            self.asked: list[list[Any]] = []
            self.fail_at = -1

        def text(self, number: int) -> Generation:
            return Generation((1,), f"a {NAMES[number]}\nnumber {number}", "stop")

    mouth = Mouth()

    def generate(model, processor, group, max_new_tokens, *_, **__):
        if len(mouth.asked) == mouth.fail_at:
            raise KeyboardInterrupt
        mouth.asked.append(list(group))
        return [mouth.text(int(prompt.key)) for prompt in group]

    monkeypatch.setattr(module, "generate", generate)
    return mouth


def raw(out: Path, part: str = "0-of-1") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"raw-{part}.jsonl").read_text(encoding="utf-8").splitlines()]


def captions(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "captions.jsonl").read_text(encoding="utf-8").splitlines()]


def small(**more: Any) -> Settings:
    """Few pictures a batch and a chunk."""
    return Settings(**{"max_new_tokens": 10, "batch_tokens": 80, "chunk": 2, **more})


def test_a_folder_gets_captions_that_the_llava_adapter_reads(bundle: Bundle, folder: Path, tmp_path: Path, says):
    lines: list[str] = []
    made = recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "out", small(), progress=lines.append)
    assert made.finished and (made.pictures, made.captioned, made.unreadable) == (10, 10, 0)
    assert len(says.asked) > 2 and lines[-1].startswith("10 of 10 pictures")
    assert [row["n"] for row in raw(tmp_path / "out")] == list(range(10))
    first = raw(tmp_path / "out")[0]
    assert first == {"n": 0, "key": "a/0.png", "width": 40, "height": 20, "caption": "a dog number 0", "stop": "stop"}
    (entry,) = yaml.safe_load((tmp_path / "out" / "sources.yaml").read_text())["sources"]
    source = Source(SourceConfig.model_validate(entry), tmp_path / "out")
    assert len(source) == 10
    for number in range(10):
        sample = source.sample(number)
        assert sample.category is Category.CAPTION and sample.messages[0].role is Role.DOCUMENT
        assert sample.messages[0].text == f"a {NAMES[number]} number {number}"
        with Image.open(sample.images[0].media.path) as picture:
            assert picture.size == (40, 20 + number) == (sample.images[0].width, sample.images[0].height)
    assert (
        "Next: mm15 data check" in made.text()
        and json.loads((tmp_path / "out" / "report.json").read_text())["kept"] == 10
    )


def test_the_picture_opens_a_document_or_stands_before_a_question(bundle: Bundle, folder: Path, tmp_path: Path, says):
    recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "a", small())
    recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "b", small(prompt="a dog?"))
    read = [bundle.processor.decode(says.asked[k][0].tokens_T.tolist()) for k in (0, -1)]
    assert "a dog?" not in read[0] and "a dog?" in read[1]


def test_a_killed_run_goes_on_and_asks_nothing_twice(bundle: Bundle, folder: Path, tmp_path: Path, says):
    out, pictures = tmp_path / "out", FolderPictures(folder)
    says.fail_at = 2
    with pytest.raises(KeyboardInterrupt):
        recaption(lambda: bundle, "d", pictures, out, small())
    before = raw(out)
    assert 0 < len(before) < 10 and not (out / "captions.jsonl").exists()
    with (out / "raw-0-of-1.jsonl").open("a") as file:
        file.write('{"n": 7, "key": "b/7.p')  # half a line, as a power cut leaves it
    says.fail_at = -1
    made = recaption(lambda: bundle, "d", pictures, out, small())
    assert made.finished and raw(out)[: len(before)] == before
    asked = [int(prompt.key) for group in says.asked for prompt in group]
    assert sorted(asked) == list(range(10)) == [row["n"] for row in raw(out)]
    whole = tmp_path / "whole"
    recaption(lambda: bundle, "d", pictures, whole, small())
    assert (whole / "captions.jsonl").read_bytes() == (out / "captions.jsonl").read_bytes()
    count = len(says.asked)
    recaption(lambda: bundle, "d", pictures, out, small(per_concept=2, seed=0))
    assert len(says.asked) == count, "choosing anew needs no captions"
    assert len(captions(out)) < 10


def test_parts_share_a_set_and_the_last_one_writes_it(bundle: Bundle, folder: Path, tmp_path: Path, says):
    out, pictures = tmp_path / "out", FolderPictures(folder)
    first = recaption(lambda: bundle, "d", pictures, out, small(part=(1, 2), keep=5))
    assert not first.finished and first.captioned == 5 and "other parts are not finished" in first.text()
    assert [row["n"] for row in raw(out, "1-of-2")] == [1, 3, 5, 7, 9] and not (out / "captions.jsonl").exists()
    assert recaption(lambda: bundle, "d", pictures, out, small(part=(0, 2), keep=5)).finished
    recaption(lambda: bundle, "d", pictures, tmp_path / "one", small(keep=5))
    assert (tmp_path / "one" / "captions.jsonl").read_bytes() == (out / "captions.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="parts: 2, now 1"):
        recaption(lambda: bundle, "d", pictures, out, small())


def test_the_set_is_balanced_by_concept(bundle: Bundle, folder: Path, tmp_path: Path, says):
    made = recaption(
        lambda: bundle, "d", FolderPictures(folder), tmp_path / "o", small(keep=4, concepts=["dog", "key", "bus"])
    )
    kept = [row["conversations"][1]["value"].split()[1] for row in captions(tmp_path / "o")]
    assert sorted(kept) == ["bus", "dog", "dog", "key"] and made.kept == 4
    assert made.dropped == {"over a concept's limit, or of no concept": 6} and "dog" in made.balance


def test_useless_captions_are_left_out_by_reason(bundle: Bundle, folder: Path, tmp_path: Path, says, monkeypatch):
    wrong = {
        0: Generation((), "  ", "stop"),
        1: Generation((1,), "a dog is " * 9, "stop"),
        2: Generation((1,), "cut", "length"),
    }
    plain = says.text
    monkeypatch.setattr(says, "text", lambda number: wrong.get(number) or plain(number))
    made = recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "o", small())
    assert made.dropped == {"empty": 1, "repeats itself": 1, "cut off": 1} and made.kept == 7
    kept = recaption(
        lambda: bundle, "d", FolderPictures(folder), tmp_path / "o", small(keep_cut=True, concepts=["dog", "cut"])
    )
    assert "cut off" not in kept.dropped and any(row["id"] == "a/2.png" for row in captions(tmp_path / "o"))
    assert defect({"caption": "one two three four five", "stop": "stop"}) == ""


def test_pictures_that_cannot_be_read_are_told_and_too_many_stop_the_run(
    bundle: Bundle, folder: Path, tmp_path: Path, says
):
    (folder / "a" / "1.png").write_bytes(b"no picture")
    (folder / "b" / "9.png").write_bytes((folder / "b" / "9.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"more than 1.0% \(max_bad\)(.|\n)*a/1\.png"):
        recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "out", small())
    made = recaption(lambda: bundle, "d", FolderPictures(folder), tmp_path / "out", small(max_bad=0.5))
    assert (made.captioned, made.unreadable, made.kept) == (8, 2, 8)
    errors = {row["key"]: row["error"] for row in raw(tmp_path / "out") if "error" in row}
    assert set(errors) == {"a/1.png", "b/9.png"} and "not a readable" in errors["a/1.png"]
    assert not (tmp_path / "out" / "images").exists()


def test_sources_show_their_first_pictures_and_kept_ones_are_copied(bundle: Bundle, tmp_path: Path, says):
    config = write_pictures(tmp_path, "set", 4)
    write_rows(tmp_path / "texts.jsonl", [{"text": "no picture here"}])
    texts = SourceConfig.model_validate({"name": "t", "path": "texts.jsonl", "format": "text", "category": "text"})
    png = (tmp_path / "images" / "set0.png").read_bytes()
    members = [(f"{k:03d}.{ending}", data) for k in range(3) for ending, data in (("png", png), ("txt", b"old"))]
    write_tar(tmp_path / "shard.tar", members)
    tars = SourceConfig.model_validate({"name": "w", "path": "shard.tar", "format": "wds-pairs", "category": "caption"})
    pictures = SourcePictures([Source(config, tmp_path), Source(texts, tmp_path), Source(tars, tmp_path)])
    assert len(pictures) == 8 and pictures.picture(7).key == "w/2" and pictures.folder is None
    with pytest.raises(SkipSample, match="without a picture"):
        pictures.picture(4)
    out = tmp_path / "out"
    made = recaption(lambda: bundle, "d", pictures, out, small(max_bad=0.2, concepts=["dog", "key"]))
    assert (made.captioned, made.unreadable, made.kept) == (7, 1, 6), "bus is no concept here"
    assert [row["image"] for row in captions(out)] == [f"images/{n:09d}.png" for n in (0, 1, 2, 3, 5, 7)]
    assert (out / "images" / "000000007.png").read_bytes() == png
    entry = yaml.safe_load((out / "sources.yaml").read_text())["sources"][0]
    assert "root" not in entry and len(Source(SourceConfig.model_validate(entry), out)) == 6
    with pytest.raises(SkipSample, match="not a picture file by itself"):
        copy_picture(MediaRef(data=b"%PDF-1.4"), out, "x")


def test_a_folder_of_something_else_is_refused(bundle: Bundle, folder: Path, tmp_path: Path, says):
    pictures, out = FolderPictures(folder), tmp_path / "out"
    recaption(lambda: bundle, "d", pictures, out, small(limit=4))
    with pytest.raises(ConfigError) as caught:
        recaption(lambda: bundle, "e", pictures, out, small(prompt="What?", limit=5))
    assert [problem.partition(":")[0] for problem in caught.value.problems[:-1]] == ["bundle", "count", "prompt"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        recaption(lambda: bundle, "d", pictures, tmp_path / "full", small())
    wrong = small(max_new_tokens=0, temperature=-1, max_bad=2, part=(2, 2), keep=1, per_concept=1)
    with pytest.raises(ConfigError) as caught:
        recaption(lambda: bundle, "d", pictures, tmp_path / "new", wrong)
    assert len(caught.value.problems) == 5 and not (tmp_path / "new").exists()
    for text in ("1", "a/b", "1/"):
        with pytest.raises(ConfigError, match="expected I/K"):
            parse_part(text)
    assert parse_part("3/8") == (3, 8)


def test_what_images_may_be(folder: Path, tmp_path: Path):
    assert [name for name in FolderPictures(folder).names][:2] == ["a/0.png", "a/1.png"]
    assert pictures_of(folder).folder == folder
    config = write_pictures(tmp_path, "set", 3)
    assert len(pictures_of(tmp_path / "set.jsonl", "llava")) == 3
    listed = {"sources": [config.model_dump(mode="json", exclude_defaults=True)]}
    (tmp_path / "sources.yaml").write_text(yaml.safe_dump(listed))
    assert len(pictures_of(tmp_path)) == len(pictures_of(tmp_path / "sources.yaml")) == 3
    for path, message in (
        (tmp_path / "none.jpg", "give a folder of pictures"),
        (tmp_path / "none", "unknown recipe"),
        (tmp_path / "set.jsonl", "give a folder of pictures"),
    ):
        with pytest.raises(ConfigError, match=message):
            pictures_of(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no picture"):
        pictures_of(tmp_path / "empty")


def test_the_verb_captions_with_a_real_bundle(bundle: Bundle, folder: Path, tmp_path: Path):
    save_bundle(tmp_path / "bundle", bundle.model, bundle.processor)
    arguments = ["data", "recaption", str(tmp_path / "bundle"), "--images", str(folder), "--out", str(tmp_path / "out"),
                 "--max-new-tokens", "4", "--keep-cut", "--json"]  # fmt: skip
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    found = re.search(r"\{.*\}", first.output, re.S)
    assert found and json.loads(found[0])["captioned"] == 10
    rows = raw(tmp_path / "out")
    assert len(rows) == 10 and len(digest_of(tmp_path / "bundle")) == 16
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and raw(tmp_path / "out") == rows
    # One by one or in a batch: the model says the same.
    recaption(
        lambda: bundle, "d", FolderPictures(folder), tmp_path / "single", Settings(max_new_tokens=4, batch_tokens=1)
    )
    assert [row["caption"] for row in raw(tmp_path / "single")] == [row["caption"] for row in rows]


def test_the_bytes_do_not_depend_on_who_works(bundle: Bundle, folder: Path, tmp_path: Path, ray: Engine):
    """A real model, a picture that cannot be read, and a run that was cut off in the middle."""
    save_bundle(tmp_path / "bundle", bundle.model, bundle.processor)
    (folder / "a" / "1.png").write_bytes(b"no picture")
    pictures, load = FolderPictures(folder), partial(load_bundle, tmp_path / "bundle")
    settings = Settings(max_new_tokens=4, chunk=3, max_bad=0.5, keep_cut=True)
    here, cut = tmp_path / "here", tmp_path / "ray" / "raw-0-of-1.jsonl"
    assert recaption(load, "d", pictures, here, settings).finished
    assert [row["n"] for row in raw(here)] == list(range(10)) and "error" in raw(here)[1]
    lines = (here / cut.name).read_bytes().splitlines(keepends=True)
    cut.parent.mkdir()
    (cut.parent / "recaption.json").write_bytes((here / "recaption.json").read_bytes())
    cut.write_bytes(b"".join(lines[:2]) + lines[2][:9])
    for name, engine in (("pool", TWO), ("ray", ray)):
        assert recaption(load, "d", pictures, tmp_path / name, settings, engine).finished
        assert contents(tmp_path / name) == contents(here)


def contents(out: Path) -> dict[str, bytes]:
    """All files but the one that names the folder."""
    return {file.name: file.read_bytes() for file in sorted(out.iterdir()) if file.name != "report.json"}


def test_a_bundle_that_is_none_is_told_before_and_a_damaged_one_by_the_worker(
    bundle: Bundle, folder: Path, tmp_path: Path
):
    with pytest.raises(BundleError, match=r"pictures: no bundle\.json in it; give a bundle"):
        digest_of(folder)
    save_bundle(tmp_path / "bundle", bundle.model, bundle.processor)
    (tmp_path / "bundle" / "model.safetensors").write_bytes(b"cut")
    load = partial(load_bundle, tmp_path / "bundle")
    with pytest.raises(ChunkError, match=r"(?s)^a worker cannot start: .*model\.safetensors: 3 bytes"):
        recaption(load, "d", FolderPictures(folder), tmp_path / "out", small())


def test_both_steps_of_the_captioner_train_on_captions(small_data: Path, tmp_path: Path):
    """What the two recipes do, small: stage sft on caption documents, the second step from the first one's bundle."""
    told = {"split": {"mode": "dynamic"}, "mixture": {"shares": "equal"}, "train": {"steps": 3, "save_every": 3}}
    source = {"name": "synthetic", "path": "scenes_caption.jsonl", "format": "llava", "category": "caption"}
    values = small_recipe("sft").model_dump(mode="json") | {"sources": [source]}
    values["mixture"] = {"shares": "equal"}
    values["train"] |= told["train"]
    recipe = type(small_recipe("sft")).model_validate(values)
    first = start_stage(recipe, tmp_path / "1", small_data)
    assert first.finished
    second = start_stage(
        recipe.model_copy(update={"name": "second"}), tmp_path / "2", small_data, tmp_path / "1" / "bundle"
    )
    assert second.finished and load_bundle(tmp_path / "2").recipe["name"] == "second"
