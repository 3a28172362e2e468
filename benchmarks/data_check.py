"""``mm15 data check`` on a million JSONL rows without pictures: rows a second, and the memory of all its processes.

Memory is the peak of the sum over this process and its workers, sampled ten times a second: of each its proportional
share (PSS: pages that several processes have are counted once). The limit is 500 MB; the script fails above it.

    python benchmarks/data_check.py [--rows 1000000] [--workers 0] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import threading
import time
from pathlib import Path

from mm15.base.config import validate
from mm15.data.check import check
from mm15.data.source import Source, SourceConfig
from mm15.dist.map import Engine

LIMIT_MB = 500
BAD = 1000
"""Every so manieth row has an empty answer, and has to be named."""


def write_rows(path: Path, count: int) -> None:
    """Conversations of about 400 bytes; written in pieces, so that this process stays small."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(500)]
    texts = [" ".join(rng.choices(words, k=rng.randint(5, 60))) for _ in range(2000)]
    with path.open("w", encoding="utf-8") as file:
        for row in range(count):
            answer = "" if row % BAD == BAD - 1 else texts[row * 7 % 2000]
            turns = [{"from": "human", "value": texts[row % 2000]}, {"from": "gpt", "value": answer}]
            file.write(json.dumps({"id": row, "conversations": turns}) + "\n")


class Memory:
    """The peak of the memory of this process and all below it, in MB (10**6 bytes)."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, sum(_share(process) for process in _below(os.getpid())))


def _below(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def _share(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def main() -> None:
    """Write the rows, check them twice (the first run also makes the index of lines), print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--keep", type=Path, help="write the rows here and leave them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "rows.jsonl"
        write_rows(path, arguments.rows)
        told = {"name": "rows", "path": str(path), "format": "llava", "category": "text_only"}
        runs = []
        for _ in range(2):
            with Memory() as memory:
                begun = time.monotonic()
                report = check(
                    [Source(validate(SourceConfig, told))],
                    max_bad=0.01,
                    engine=Engine(workers=arguments.workers),
                )
                seconds = time.monotonic() - begun
            assert report.ok and report.sources[0].read == arguments.rows
            assert len(report.faults) == arguments.rows // BAD
            runs.append((seconds, memory.peak))
        size = path.stat().st_size
    result = {
        "rows": arguments.rows,
        "bytes": size,
        "workers": arguments.workers or os.cpu_count(),
        "rows_per_second_first": round(arguments.rows / runs[0][0]),
        "rows_per_second": round(arguments.rows / runs[1][0]),
        "memory_mb": round(max(peak for _, peak in runs), 1),
        "limit_mb": LIMIT_MB,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(result))
    assert result["memory_mb"] < LIMIT_MB, "over the limit"


if __name__ == "__main__":
    main()
