"""MM1.5-Video and MM1.5-UI: recipes hold the papers' values, clips train the way of all samples, broken clips tell."""

from __future__ import annotations

import json
import os
import string
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from film_fixture import WIDTH, picture_of, seen, small_film, write_film
from mm15.base.config import validate
from mm15.base.errors import PictureError
from mm15.base.types import MediaRef, VideoPart
from mm15.clips import open_clip
from mm15.data.loader import SampleCache, read_pack
from mm15.data.mixture import MixtureConfig
from mm15.data.planner import PackBudget, build_planner
from mm15.data.source import SourceConfig, open_sources
from mm15.images.film import Film
from mm15.images.split import SplitMode, SplitPolicy
from mm15.images.tensors import Memory, planes, resize
from mm15.images.video import spread
from mm15.processor import Processor, ProcessorConfig
from mm15.stage import start_stage
from mm15.text.template import SPECIALS
from mm15.text.tokenizer import train_tokenizer
from mm15.train.recipe import Recipe, load_recipe
from stage_fixture import small_values

FRAMES, TILE, PER_TILE = 5, 16, 4


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"<video>\n{question}"}, {"from": "gpt", "value": answer}]


def write_sets(folder: Path) -> list[dict[str, Any]]:
    """The three formats of the video recipe, with real films; and their sources."""
    for number in range(3):
        small_film(folder / f"films/{number}.mp4", 4 + 3 * number)
        small_film(folder / f"anet/videos/v_a{number}.mp4", 5)
    share = [{"id": k, "video": f"{k}.mp4", "conversations": turns("What happens?", f"light {k}")} for k in range(3)]
    (folder / "share.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in share))
    chat2 = [{"video": f"{k}.mp4", "QA": [{"i": "Answer.", "q": "What is it?", "a": f"grey {k}"}]} for k in range(3)]
    (folder / "chat2.json").write_text(json.dumps(chat2))
    asked = [{"video_name": f"a{k}", "question": "is it dark", "question_id": f"q{k}"} for k in range(3)]
    answers = [{"answer": "no", "type": 3, "question_id": f"q{k}"} for k in range(3)]
    (folder / "anet/train_q.json").write_text(json.dumps(asked))
    (folder / "anet/train_a.json").write_text(json.dumps(answers))
    train_tokenizer([string.printable], SPECIALS).save(folder / "tokenizer.json")
    frames = {"frames": FRAMES}
    return [
        {"name": "share", "dataset": "sharegptvideo", "path": "share.jsonl", "root": "films", "options": frames},
        {"name": "chat2", "dataset": "videochat2-it", "path": "chat2.json", "root": "films", "options": frames},
        {"name": "anet", "dataset": "activitynet-qa", "path": "anet/train_q.json", "root": "anet/videos",
         "options": frames},
    ]  # fmt: skip


@pytest.mark.video
@pytest.mark.parametrize("size", ["1b", "3b", "7b"])
def test_video_recipes_hold_the_papers_values(size: str):
    recipe = load_recipe(f"video-{size}")
    assert recipe.size == size and recipe.stage == "sft"
    for source in recipe.sources:
        assert source.options.get("frames", 24) == 24 and source.category == "video"
    assert recipe.mixture.shares == {
        "sharegptvideo-qa": 256, "sharegptvideo-caption": 300, "videochat2": 225, "activitynet-qa": 31.5
    }  # fmt: skip
    train = recipe.train
    assert (train.optimizer.kind, train.optimizer.lr, train.schedule.final) == ("adafactor", 2e-5, 0)
    samples = 1000 * (556 + 225 + 31.5)
    assert round(samples / 256) == train.steps == 3174 and train.accumulation == 256
    assert 24 * 144 < recipe.max_tokens == train.pack_tokens < 2 * 24 * 144, "one clip fills a pack"
    assert not train.optimizer.lr_scale, "nothing is frozen"


@pytest.mark.ui
@pytest.mark.parametrize("size", ["1b", "3b", "7b"])
def test_ui_recipes_hold_the_papers_values(size: str):
    recipe = load_recipe(f"ui-{size}")
    assert recipe.size == size and {source.category for source in recipe.sources} == {"ui"}
    shares = recipe.mixture.shares
    assert isinstance(shares, dict) and sum(shares.values()) + 40 == 801, "40k of advanced tasks are not public"
    assert recipe.train.steps == round(801_000 / 256)
    assert (recipe.train.optimizer.lr, recipe.train.schedule.final) == (2e-5, 0)
    assert (recipe.split.mode, recipe.split.tile, recipe.split.n_min, recipe.split.n_max) == ("dynamic", 672, 4, 9)
    assert recipe.split.mode is SplitMode.DYNAMIC
    longer = load_recipe(f"ui-{size}", ("train.steps=9387",))
    assert longer.train.steps == 3 * recipe.train.steps


@pytest.mark.video
def test_clips_cost_what_their_headers_say_and_train_from_the_loader(tmp_path: Path):
    entries = [SourceConfig.model_validate(entry) for entry in write_sets(tmp_path)]
    sources = open_sources(entries, tmp_path)
    split = SplitPolicy(tile=TILE, n_max=9)
    tokenizer = train_tokenizer([string.printable], SPECIALS)
    processor = Processor(ProcessorConfig(split=split, tokens_per_tile=PER_TILE, max_tokens=400), tokenizer)
    planner = build_planner(
        sources, processor, MixtureConfig(shares="equal"), PackBudget(max_tokens=400, max_tiles=16), seed=0
    )
    told = 0
    for number in range(4):
        pack = planner.pack(number)
        batch, skips = read_pack(pack, sources, processor, SampleCache(0))
        assert not skips
        wanted = [processor.count(sources[source].sample(row)) for source, row in pack]
        assert [tokens for tokens, _ in wanted] == list(np.diff(batch.borders)) and {tiles for _, tiles in wanted} == {
            FRAMES
        }
        assert len(batch.tiles_NCHW) == FRAMES * len(pack)
        # Frames grow lighter in every clip, and stand in their order.
        for clip in batch.tiles_NCHW.float().mean((1, 2, 3)).split(FRAMES):
            assert bool((clip.diff() >= 0).all()) and clip[-1] > clip[0]
        told += len(pack)
    assert told >= 8


@pytest.mark.video
def test_a_stage_trains_on_the_three_formats_and_learns_from_clips(tmp_path: Path):
    sources = write_sets(tmp_path)
    values = small_values("sft", train={"steps": 12, "log_every": 1, "pack_tokens": 500})
    mixture = {"shares": {"share": 556, "chat2": 225, "anet": 31.5}}
    recipe = validate(Recipe, {**values, "sources": sources, "mixture": mixture})
    result = start_stage(recipe, tmp_path / "run", tmp_path)
    assert result.finished and result.tiles == FRAMES * result.samples > 12 * FRAMES
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    rows = {row["source"]: row for row in json.loads((tmp_path / "run/shares.json").read_text())}
    assert rows["share"]["share"] == pytest.approx(556 / 812.5) and rows["anet"]["size"] == 3


@pytest.mark.video
def test_a_clip_that_cannot_be_read_is_skipped_by_name_where_rows_are_costed(tmp_path: Path):
    entries = write_sets(tmp_path)[:1]
    (tmp_path / "films/1.mp4").write_bytes(b"no film")
    source = open_sources([SourceConfig.model_validate({**entries[0], "max_skip_rate": 0.5})], tmp_path)[0]
    processor = Processor(
        ProcessorConfig(split=SplitPolicy(tile=TILE), tokens_per_tile=PER_TILE),
        train_tokenizer([string.printable], SPECIALS),
    )
    costs, skips = source.scan(processor)
    assert [bool(tokens) for tokens, _ in costs] == [True, False, True]
    assert [skip.row for skip in skips] == [1] and "1.mp4: not a readable film" in skips[0].reason


@pytest.mark.video
def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(tmp_path: Path):
    for change in (-1, 1):
        path = write_film(tmp_path / f"{change}.mp4", range(200))
        size = path.stat().st_size
        with open_clip(VideoPart(MediaRef(str(path)), 24)) as clip:
            frames = clip.frames()
            next(frames)
            os.truncate(path, size + change * size // 2)
            with pytest.raises(PictureError, match="the file changed while it was read"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                list(frames)


@pytest.mark.video
def test_a_header_that_claims_a_hundred_thousand_frames_costs_nothing(tmp_path: Path):
    data = bytearray(write_film(tmp_path / "a.avi", range(50), codec="mpeg4").read_bytes())
    whole, stream = data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32
    for place in (whole, stream):
        assert struct.unpack_from("<I", data, place) == (50,)
        struct.pack_into("<I", data, place, 100_000)
    with Film(bytes(data)) as film:
        assert film.seconds == 4000 and film.width == WIDTH
        assert seen(film.frames(10)) == spread(10, 50)


def test_what_is_encoded_in_inference_mode_does_not_spoil_training():
    memory = Memory()
    pixels = planes(picture_of(1234))
    with torch.inference_mode():
        first = resize(pixels, 30, 20, memory).clone()
    again = resize(pixels, 30, 20, memory)
    assert torch.equal(first, again) and not again.is_inference()
    again[:] = 0
