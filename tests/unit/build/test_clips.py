"""Clips: what rows say is what the frames show, decoded back from the files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from mm15.base.errors import ConfigError, MissingExtra
from mm15.base.rng import numpy_rng
from mm15.base.types import VideoPart
from mm15.build import clips
from mm15.build._clip_tasks import CLEAR, TASKS, WAYS
from mm15.build._film import FPS, SHORTEST, frames_of, open_films, read_clip, shots_of, write_clip
from mm15.build.materials import Materials
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import Engine

pytestmark = pytest.mark.video

HERE, TWO = Engine(workers=1), Engine(workers=2)
MATERIALS = Materials()
N = 48


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clips")
    clips.build(out / "train", "train", N, 5, MATERIALS, engine=HERE)
    clips.build(out / "heldout", "heldout", 24, 5, MATERIALS, engine=HERE)
    return out


def rows(folder: Path, task: str = "") -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in read if not task or row["task"] == task]


def asked(row: dict[str, Any]) -> tuple[str, str]:
    question, answer = (turn["value"] for turn in row["conversations"])
    return question.removeprefix("<video>\n"), answer


def decoded(folder: Path, row: dict[str, Any]) -> np.ndarray:
    """Frames as int16 [F, H, W, 3]."""
    return np.stack([np.asarray(frame, np.int16) for frame in read_clip(folder / row["video"])])


def boxes(entry: dict[str, Any]) -> dict[int, list[int]]:
    return {frame: box for frame, *box in entry["boxes"]}


def change(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def ramp(frames: int, width: int = 64, height: int = 48, seed: int = 0) -> list[Image.Image]:
    """A noise picture that drifts slowly."""
    noise = numpy_rng(seed, "film").integers(0, 255, (height // 8, width // 8 + 9, 3), dtype=np.uint8)
    wide = Image.fromarray(noise).resize((width + 72, height), Image.Resampling.BILINEAR)
    return [wide.crop((k, 0, k + width, height)) for k in range(frames)]


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_file_has_the_frames_the_size_and_the_rate_of_its_row(built: Path, split: str):
    for row in rows(built / split):
        frames = decoded(built / split, row)
        assert frames.shape == (row["frames"], row["video_h"], row["video_w"], 3)
        assert row["video_w"] != row["video_h"] and row["video_w"] % 2 == row["video_h"] % 2 == 0
        with av.open(str(built / split / row["video"])) as container:
            assert container.streams.video[0].average_rate == FPS == row["fps"]
    assert Counter(row["task"] for row in rows(built / split)) == dict.fromkeys(
        TASKS, (N if split == "train" else 24) // 6
    )


def test_a_thing_moves_the_way_that_is_said(built: Path):
    ways = Counter()
    for row in rows(built / "train", "direction"):
        question, answer = asked(row)
        assert question == f"Which way does the {row['objects'][0]['name']} move?"
        places = boxes(row["objects"][0])
        assert sorted(places) == list(range(row["frames"])), "seen in every frame"
        first, last = ([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] for box in (places[0], places[row["frames"] - 1]))
        dx, dy = WAYS[answer]
        moved = (last[0] - first[0]) * dx + (last[1] - first[1]) * dy
        side = row["video_w"] if dx else row["video_h"]
        assert moved > 0.4 * side
        # On the pixels: where the thing was first, the last frame shows another thing, and the other way round.
        frames = decoded(built / "train", row)
        for x1, y1, x2, y2 in (places[0], places[row["frames"] - 1]):
            assert change(frames[0, y1:y2, x1:x2], frames[-1, y1:y2, x1:x2]) > 8
        ways[answer] += 1
    assert ways == dict.fromkeys(WAYS, 2), "answers in turn"


def test_the_order_of_things_is_that_of_the_frames(built: Path):
    for row in rows(built / "train", "order"):
        question, answer = asked(row)
        names = [entry["name"] for entry in row["objects"]]
        spans = [(min(boxes(entry)), max(boxes(entry))) for entry in row["objects"]]
        assert spans == sorted(spans) and len(set(names)) == 3
        assert [first for first, _ in spans[1:]] == row["cuts"] and spans[-1][1] == row["frames"] - 1
        expected = {
            f"What is shown {word}?": name for word, name in zip(("first", "second", "third"), names, strict=True)
        }
        expected |= {f"What is shown right after the {a}?": b for a, b in pairwise(names)}
        assert expected[question] == answer
    assert len({asked(row)[0].split(" the ")[0] for row in rows(built / "train", "order")}) == 4


def test_cuts_are_where_the_picture_jumps_and_nowhere_else(built: Path):
    counts = Counter()
    for split in ("train", "heldout"):
        for row in rows(built / split, "cuts"):
            frames = decoded(built / split, row)
            jumps = [k for k in range(1, len(frames)) if change(frames[k - 1], frames[k]) > 0.7 * CLEAR]
            assert jumps == row["cuts"] and asked(row) == ("How many times does the place change?", str(len(jumps)))
            counts[len(jumps)] += 1
    assert counts == dict.fromkeys(range(4), 3)


def test_visits_are_counted_as_they_are_shown(built: Path):
    for row in rows(built / "train", "visits"):
        shown = sorted(boxes(row["objects"][0]))
        visits = 1 + sum(b - a > 1 for a, b in pairwise(shown))
        question, answer = asked(row)
        assert (question, answer) == (
            f"How many times does the {row['objects'][0]['name']} cross the picture?",
            str(visits),
        )
        frames, places = decoded(built / "train", row), boxes(row["objects"][0])
        empty = next(k for k in range(row["frames"]) if k not in places)
        middle = shown[len(shown) // 2 // visits]
        x1, y1, x2, y2 = places[middle]
        assert change(frames[middle, y1:y2, x1:x2], frames[empty, y1:y2, x1:x2]) > 8


def test_half_way_exactly_one_thing_changes(built: Path):
    kinds = Counter()
    for row in rows(built / "train", "change"):
        question, answer = asked(row)
        frames, half = decoded(built / "train", row), row["frames"] // 2
        before, after = frames[half - 1], frames[half]
        moved = np.argwhere(np.abs(after - before).max(axis=2) > 60)
        parts = [entry for entry in row["objects"] if len(entry["boxes"]) < row["frames"]]
        x1, y1, x2, y2 = parts[0]["boxes"][0][1:]
        assert len(moved) and ((moved >= (y1 - 2, x1 - 2)) & (moved < (y2 + 2, x2 + 2))).all(), "only there"
        assert change(frames[0], frames[half - 1]) < 3 and change(frames[half], frames[-1]) < 3
        if question.startswith("What color"):
            assert [entry["name"] for entry in parts] == [parts[0]["name"]] * 2 and parts[1]["color"] == answer
            assert question == f"What color does the {parts[0]['name']} become?"
        else:
            verb = "disappears" if min(boxes(parts[0])) == 0 else "appears"
            assert (question, answer) == (f"What {verb}?", parts[0]["name"]) and len(parts) == 1
        kinds[question.split()[1]] += 1
    assert set(kinds) == {"disappears?", "appears?", "color"}


def test_the_picture_stands_still_in_the_half_that_is_said_and_moves_in_the_other(built: Path):
    for split in ("train", "heldout"):
        for row in rows(built / split, "standstill"):
            frames, half = decoded(built / split, row), row["frames"] // 2
            steps = [change(frames[k - 1], frames[k]) for k in range(1, len(frames))]
            halves = {"first half": steps[: half - 1], "second half": steps[half:]}
            still, moving = halves.pop(asked(row)[1]), next(iter(halves.values()))
            assert max(still) < 1.5 and np.mean(moving) > 3 * np.mean(still) and np.mean(moving) > 0.7


def test_same_seed_same_bytes_whatever_the_number_of_processes(tmp_path: Path, built: Path):
    clips.build(tmp_path / "a", "train", 70, 5, MATERIALS, engine=TWO)
    clips.build(tmp_path / "b", "train", 12, 6, MATERIALS, engine=HERE)
    for row in rows(built / "train"):
        assert (tmp_path / "a" / row["video"]).read_bytes() == (built / "train" / row["video"]).read_bytes()
    assert rows(tmp_path / "a")[:N] == rows(built / "train")
    assert rows(tmp_path / "b") != rows(built / "train")[:12] != rows(built / "heldout")[:12]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "clips-choice.csv", "clips.jsonl", "sources.yaml", "videos",
    ]  # fmt: skip


def test_held_out_drawings_photographs_and_films_are_other_ones(monkeypatch):
    used: dict[str, set[Path]] = {}
    for split in ("train", "heldout"):
        films = open_films(MATERIALS, split)
        assert films and all(len(shot) >= SHORTEST for film in films for shot in film.shots)
        used[split] = {film.file for film in films}
    assert not used["train"] & used["heldout"]


def test_adapters_read_both_files(built: Path):
    listed = yaml.safe_load((built / "train" / "sources.yaml").read_text())["sources"]
    assert [entry["format"] for entry in listed] == ["llava", "video-qa"]
    plain, choice = (Source(SourceConfig.model_validate(entry), built / "train") for entry in listed)
    assert len(plain) == len(choice) == N
    for index, row in enumerate(rows(built / "train")):
        question, answer = asked(row)
        one, two = plain.sample(index), choice.sample(index)
        for sample in (one, two):
            part = sample.messages[0].parts[0]
            assert isinstance(part, VideoPart) and Path(part.media.path) == built / "train" / row["video"]
        assert one.messages[0].text == f"\n{question}" and one.messages[1].text == answer
        letter = two.messages[1].text
        assert two.messages[0].text.startswith(f"\n{question}\nA. ") and f"{letter}. {answer}\n" in two.messages[0].text
    with (built / "train" / "clips-choice.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert all(len({row[f"a{k}"] for k in range(5)}) == 5 for row in read)
    assert len({row["answer"] for row in read}) == 5, "the right answer stands anywhere"


def test_films_are_cut_into_shots(tmp_path: Path):
    frames = ramp(20) + ramp(24, seed=1) + ramp(8, seed=2)
    write_clip(tmp_path / "film.mp4", frames)
    read = frames_of(tmp_path / "film.mp4")
    assert len(read) == 52 and read[0].size == (64, 48)
    assert change(np.asarray(read[30], np.int16), np.asarray(frames[30], np.int16)) < 6
    assert [(shot.first, shot.last) for shot in shots_of(read)] == [(0, 20), (20, 44)], "the last is too short"


def test_a_film_of_another_rate_is_read_at_ours(tmp_path: Path):
    with av.open(str(tmp_path / "fast.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in ramp(48):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    read = frames_of(tmp_path / "fast.mkv")
    assert len(read) == 16, "two seconds"
    assert change(np.asarray(read[5], np.int16), np.asarray(ramp(48)[15], np.int16)) < 8


def test_your_films_are_used_and_what_is_none_is_left_out(tmp_path: Path):
    (tmp_path / "films").mkdir()
    for number in range(12):
        write_clip(tmp_path / "films" / f"{number}.mp4", ramp(18, seed=number))
    (tmp_path / "films" / "broken.mp4").write_bytes(b"no film")
    with pytest.warns(UserWarning, match=r"broken\.mp4: not a readable film"):
        train, held = (open_films(MATERIALS, split, tmp_path / "films") for split in ("train", "heldout"))
    mine = [{film.file.name for film in films if film.file.parent == tmp_path / "films"} for films in (train, held)]
    assert len(mine[0]) + len(mine[1]) == 12 and not mine[0] & mine[1]
    with pytest.warns(UserWarning):
        clips.build(tmp_path / "out", "train", 6, 0, MATERIALS, input=tmp_path / "films", engine=HERE)
    assert len(rows(tmp_path / "out")) == 6
    with pytest.raises(ConfigError, match="no such folder"):
        open_films(MATERIALS, "train", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no film \(\.mp4"):
        open_films(MATERIALS, "train", tmp_path / "empty")


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"mm15\[video\]"):
        clips.build(tmp_path, "train", 1, 0, MATERIALS)
