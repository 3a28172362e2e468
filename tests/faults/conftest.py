"""A table of figures at the end of the fault suite, for docs/RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

ROWS: list[tuple[str, str, str]] = []


@pytest.fixture
def figure() -> Callable[[str, str, str], None]:
    """Notes a row: fault, how often, outcome."""

    def note(fault: str, cases: str, outcome: str) -> None:
        ROWS.append((fault, cases, outcome))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("faults survived")
        for row in [("fault", "cases", "outcome"), ("---", "---", "---"), *ROWS]:
            terminalreporter.write_line(f"| {' | '.join(row)} |")
