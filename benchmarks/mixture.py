"""Drawing a mixture of three sources 50 : 10 : 40 without decoding, beside datasets, grain and webdataset, in one run.

    pip install datasets grain webdataset
    python benchmarks/mixture.py [--rows 20000] [--draws 40000] [--rounds 5]

Every side draws from the same rows (a caption and a JPEG of 20 kB; ours as JSON lines, read as bytes by row number; the
others in the form they read fastest), in one process, files in the page cache, after one round that is not counted.
What is drawn is a shuffled mixture in the stated shares; nothing is decoded and no JSON is parsed.
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

from mm15.base.types import Category
from mm15.data.mixture import Mixture, MixtureConfig, Pool
from mm15.io.jsonl import JsonlIndex

SHARES = {"caption": 0.5, "interleaved": 0.1, "text": 0.4}
BLOCK = 4096
JPEG_BYTES = 20_000


def write(folder: Path, rows: int) -> None:
    """The three sources as JSON lines, Arrow and tar."""
    noise = random.Random(0)
    for name in SHARES:
        pictures = [noise.randbytes(JPEG_BYTES) for _ in range(64)]
        made = [{"text": f"{name} {index}", "jpg": pictures[index % 64]} for index in range(rows)]
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


def ours(folder: Path) -> Iterator[Any]:
    sources = {name: JsonlIndex(folder / f"{name}.jsonl") for name in SHARES}
    pools = [Pool(name, Category(name), np.arange(len(rows))) for name, rows in sources.items()]
    mixture = Mixture(MixtureConfig(shares=SHARES), pools, seed=0)
    readers = [sources[pool.name].row_bytes for pool in pools]
    for start in itertools.count(0, BLOCK):
        source_N, row_N = mixture.order(start, BLOCK)
        for source, row in zip(source_N.tolist(), row_N.tolist(), strict=True):
            yield readers[source](row)


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


def rates(make: Callable[[Path], Iterator[Any]], folder: Path, draws: int, rounds: int) -> list[float]:
    """Samples per second of every round but the first, of one endless stream."""
    stream, found = make(folder), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in itertools.islice(stream, draws):
            pass
        found.append(draws / (time.perf_counter() - start))
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.rows)
        mine = statistics.median(rates(ours, folder, arguments.draws, arguments.rounds))
        print(f"mm15 {mine:,.0f} samples/s", flush=True)
        for peer, make in (("datasets", with_datasets), ("grain", with_grain), ("webdataset", with_webdataset)):
            their = statistics.median(rates(make, folder, arguments.draws, arguments.rounds))
            print(f"{peer} {their:,.0f} samples/s, ratio {mine / their:.1f}", flush=True)


if __name__ == "__main__":
    main()
