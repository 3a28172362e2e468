"""10,000 samples with 500 faults of many kinds: every fault is named with place and reason, nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bad_data_fixture import BOX as BOX_FAULTS
from bad_data_fixture import BOXES, LINES, MEMBERS, ROWS, SHARD_ROWS, SHARDS, TURNS, Injected
from mm15.base.errors import SkipBudgetExceeded
from mm15.data.check import CheckReport, check
from mm15.data.open import open_path
from mm15.dist.map import Engine

HERE = Engine(workers=1)  # Less work than starting processes for it.


def read(folder: Path, **how: object) -> CheckReport:
    return check(open_path(folder).sources, engine=HERE, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Injected, CheckReport]:
    """The data without a fault, read."""
    data = Injected(tmp_path_factory.mktemp("whole") / "data", faulty=False)
    return data, read(data.folder, digests=True)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Injected:
    """The same data with 500 faults."""
    return Injected(tmp_path_factory.mktemp("broken") / "data", faulty=True)


def address(data: Injected, source: str, row: int) -> str:
    """Where a row lies, as its file counts."""
    if source != "pairs":
        return f"{data.folder}/{source}.jsonl:{row + 1}"
    return f"{data.folder}/pairs/{row // SHARD_ROWS:03}.tar:"


def test_a_clean_run_finds_nothing(whole: tuple[Injected, CheckReport]):
    data, report = whole
    assert report.faults == [] and report.ok
    assert [(source.rows, source.samples) for source in report.sources] == [
        (TURNS, TURNS),
        (BOXES, BOXES),
        (SHARDS * SHARD_ROWS, SHARDS * SHARD_ROWS),
    ]
    assert len(report.digests) == ROWS == 10_000 and len(set(report.digests.values())) == ROWS
    # Unusual pictures are used, and named.
    noted = {(note.address, note.kind) for note in report.notes}
    assert noted >= {(address(data, *where), kind) for where, kind in data.odd.items()} and len(data.odd) == 72
    odd = {address(data, *where) for where in data.odd}
    assert {note.address for note in report.notes} == odd


def test_every_fault_is_named_and_nothing_else_changes(
    whole: tuple[Injected, CheckReport], broken: Injected, tmp_path: Path
):
    assert len(broken.faults) == 500 and len(LINES) + len(BOX_FAULTS) + len(MEMBERS) + 2 >= 25
    report = read(broken.folder, max_bad=0.1, digests=True, clean=tmp_path / "clean")
    assert report.ok and len(report.faults) == 500
    for fault in report.faults:
        assert fault.reason and fault.fix and fault.kind
    # By address and kind.
    lines = {(address(broken, source, row), kind) for (source, row), kind in broken.faults.items() if source != "pairs"}
    assert {(fault.address, fault.kind) for fault in report.faults if fault.source != "pairs"} == lines
    assert all(fault.row for fault in report.faults if fault.source != "pairs")
    pairs = {row: kind for (source, row), kind in broken.faults.items() if source == "pairs"}
    assert report.sources[2].bad_rows == sorted(pairs)
    for fault, (row, kind) in zip(
        [fault for fault in report.faults if fault.source == "pairs"], sorted(pairs.items()), strict=True
    ):
        assert fault.kind == kind and fault.address.startswith(address(broken, "pairs", row)), fault
        damaged = kind == "tar: damaged header"
        assert damaged or fault.address.endswith(f"{row:06}"), fault
    # Ids and hashes of the 9,500 others are those of the clean run.
    bad = {f"{source}/{row}" for source, row in broken.faults}
    wanted = {key: digest for key, digest in whole[1].digests.items() if key not in bad}
    assert len(wanted) == 9_500 and report.digests == wanted
    # What is written without them is clean, in its own form: lines keep their bytes.
    good = [
        line
        for row, line in enumerate((whole[0].folder / "turns.jsonl").read_bytes().splitlines(keepends=True))
        if ("turns", row) not in broken.faults
    ]
    assert (tmp_path / "clean/turns/turns.jsonl").read_bytes() == b"".join(good)
    again = read(tmp_path / "clean", max_bad=0.0)
    assert again.ok and again.faults == [] and sum(source.rows for source in again.sources) == 9_500
    captions = [row for row in range(SHARDS * SHARD_ROWS) if row not in pairs]
    written = open_path(tmp_path / "clean").sources[2]
    texts = [written.sample(row).messages[0].text for row in range(len(written))]
    assert texts == [f"caption {row:06}" for row in captions]


def test_more_than_allowed_stops_and_says_why(broken: Injected):
    report = read(broken.folder)
    assert not report.ok
    first = sorted(row for source, row in broken.faults if source == "turns")[: TURNS // 100 + 1]
    assert report.sources[0].bad_rows == first and report.sources[0].read == first[-1] + 1
    told = report.sources[0].stopped
    assert told.startswith(
        f"stopped after row {first[-1] + 1:,} of 7,000 ({broken.folder}/turns.jsonl:{first[-1] + 1})"
    )
    assert "71 bad rows are more than the 70 (0.01 of all) that may be bad" in told and "--max-bad" in told
    assert [source.stopped != "" for source in report.sources] == [True, True, True]
    assert {fault.address for fault in report.faults if fault.source == "turns"} == {
        address(broken, "turns", row) for row in first
    }
    with pytest.raises(SkipBudgetExceeded, match="71 bad rows are more than the 70"):
        report.raise_if_stopped()
    together = check(open_path(broken.folder).sources, engine=Engine(workers=2))
    assert (together.faults, together.notes) == (report.faults, report.notes)
