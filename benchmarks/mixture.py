"""Drawing a mixture of three sources 50 : 10 : 40 without decoding, beside datasets, grain and webdataset, in one run.

    pip install datasets grain webdataset
    python benchmarks/mixture.py [--rows 20000] [--draws 20000] [--rounds 5]

Every side draws from the same rows (a caption and a JPEG of 20 kB; ours as JSON lines; the others in the form they read
fastest), in one process, files in the page cache, after one round that is not counted. What is drawn is a shuffled
mixture in the stated shares.

A draw without decoding is the row as its file holds it, copied out of the file into bytes of its own: of the peers the
caption and the JPEG, of ours the line of JSON with the JPEG in base64, a third more bytes. No JPEG is decoded. The
peers' fields are apart when they arrive; ours come apart where a format reads them, and what that costs is the line
"parsed" (JSON and base64). Before the clock starts ``check`` opens draws of every side and compares them with what was
written. Ours goes the way of training: ``Source``, its rows, and ``Mixture.order`` in blocks of a planner's window.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import grain
import numpy as np
import webdataset as wds

from mm15.base.config import validate
from mm15.base.types import Category
from mm15.data.mixture import Mixture, MixtureConfig, Pool
from mm15.data.source import Source, SourceConfig
from mm15.io.jsonl import JsonlIndex

SHARES = {"caption": 0.5, "interleaved": 0.1, "text": 0.4}
BLOCK = 2048
"""The planner's window."""
JPEG_BYTES = 20_000
PICTURES = 64
CHECKED = 2000


def pictures_of(name: str) -> list[bytes]:
    noise = random.Random(name)
    return [noise.randbytes(JPEG_BYTES) for _ in range(PICTURES)]


def write(folder: Path, rows: int) -> None:
    """The three sources as JSON lines, Arrow and tar."""
    for name in SHARES:
        pictures = pictures_of(name)
        made = [{"text": f"{name} {index}", "jpg": pictures[index % PICTURES]} for index in range(rows)]
        with (folder / f"{name}.jsonl").open("w") as lines:
            for row in made:
                lines.write(json.dumps({**row, "jpg": base64.b64encode(row["jpg"]).decode()}) + "\n")
        datasets.Dataset.from_list(made).save_to_disk(folder / f"{name}.arrow")
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for index, row in enumerate(made):
                for ending, data in (("txt", row["text"].encode()), ("jpg", row["jpg"])):
                    info = tarfile.TarInfo(f"{index:06d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def open_source(folder: Path, name: str) -> JsonlIndex:
    told = {"name": name, "path": f"{name}.jsonl", "format": "llava", "category": name}
    rows = Source(validate(SourceConfig, told), folder).rows
    assert isinstance(rows, JsonlIndex)
    return rows


def ours(folder: Path) -> Iterator[Any]:
    sources = {name: open_source(folder, name) for name in SHARES}
    pools = [Pool(name, Category(name), np.arange(len(rows))) for name, rows in sources.items()]
    mixture = Mixture(MixtureConfig(shares=SHARES), pools, seed=0)
    readers = [sources[pool.name].row_bytes for pool in pools]
    for start in itertools.count(0, BLOCK):
        source_N, row_N = mixture.order(start, BLOCK)
        for source, row in zip(source_N.tolist(), row_N.tolist(), strict=True):
            yield readers[source](row)


def ours_parsed(folder: Path) -> Iterator[Any]:
    for line in ours(folder):
        row = json.loads(line)
        yield {**row, "jpg": base64.b64decode(row["jpg"])}


def with_datasets(folder: Path) -> Iterator[Any]:
    sources = [datasets.load_from_disk(str(folder / f"{name}.arrow")).shuffle(seed=0) for name in SHARES]
    mixed = datasets.interleave_datasets(sources, list(SHARES.values()), seed=0, stopping_strategy="first_exhausted")
    while True:
        for index in range(len(mixed)):
            yield mixed[index]


def with_grain(folder: Path) -> Iterator[Any]:
    sources = [
        grain.MapDataset.source(datasets.load_from_disk(str(folder / f"{name}.arrow"))).shuffle(seed=0).repeat()
        for name in SHARES
    ]
    mixed = grain.MapDataset.mix(sources, weights=list(SHARES.values()))
    yield from mixed.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))


def with_webdataset(folder: Path) -> Iterator[Any]:
    sources = [
        wds.WebDataset(str(folder / f"{name}.tar"), shardshuffle=False).shuffle(1000).repeat() for name in SHARES
    ]
    yield from wds.RandomMix(sources, list(SHARES.values()))


def check(make: Callable[[Path], Iterator[Any]], folder: Path) -> None:
    """Draws are rows as they were written, each held in bytes of its own, in about the stated shares."""
    pictures = {name: pictures_of(name) for name in SHARES}
    drawn = dict.fromkeys(SHARES, 0)
    for row in itertools.islice(make(folder), CHECKED):
        if isinstance(row, bytes):
            row = json.loads(row)
            row["jpg"] = base64.b64decode(row["jpg"])
        text = row["txt"].decode() if "txt" in row else row["text"]
        name, index = text.split()
        assert type(row["jpg"]) is bytes and row["jpg"] == pictures[name][int(index) % PICTURES], text
        drawn[name] += 1
    assert all(abs(drawn[name] / CHECKED - share) < 0.05 for name, share in SHARES.items()), drawn


def rates(make: Callable[[Path], Iterator[Any]], folder: Path, draws: int, rounds: int) -> list[float]:
    """Samples per second of every round but the first, of one endless stream."""
    check(make, folder)
    stream, found = make(folder), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in itertools.islice(stream, draws):
            pass
        found.append(draws / (time.perf_counter() - start))
    return found[1:]


def told(name: str, found: list[float]) -> str:
    return f"{name} {statistics.median(found):,.0f} samples/s ({min(found):,.0f} to {max(found):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.rows)
        mine = rates(ours, folder, arguments.draws, arguments.rounds)
        print(told("mm15", mine), flush=True)
        for peer, make in (("datasets", with_datasets), ("grain", with_grain), ("webdataset", with_webdataset)):
            their = rates(make, folder, arguments.draws, arguments.rounds)
            ratio = statistics.median(mine) / statistics.median(their)
            print(f"{told(peer, their)}, ratio {ratio:.1f}", flush=True)
        print(told("mm15 parsed", rates(ours_parsed, folder, arguments.draws, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
