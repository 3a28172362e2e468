"""Questions about a series of numbers whose answers follow from it exactly: values, extremes, counts, comparisons,
sums, trends; the table as Markdown; and the code that draws it."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

from mm15.build._csv_tables import Series

Turn = tuple[str, str, str]
"""Task, question, answer."""
CLEAR = Decimal("0.04")
"""Share of the range by which values must differ to be compared by eye."""


def read_turns(series: Series, kind: str, numbers: bool, rng: random.Random) -> list[Turn]:
    """What can be read off: title, counts, the highest and the lowest, and values where they are written."""
    name = rng.choice(sorted(series.values))
    values = series.numbers(name)
    thing = {"bar": "bars", "barh": "bars", "line": "points on the line"}[kind]
    turns: list[Turn] = [("title", "What is the title of the chart?", series.title)]
    if len(series.values) == 1:
        turns.append(("count", f"How many {thing} are there?", str(len(values))))
    else:
        turns.append(("count", "How many entries does the legend have?", str(len(series.values))))
    ranked = sorted(zip(values, series.labels, strict=True))
    if apart(series, ranked[-1][0], ranked[-2][0]):
        turns.append(("highest", f"For which {series.label_name} is {name} highest?", ranked[-1][1]))
    if apart(series, ranked[1][0], ranked[0][0]):
        turns.append(("lowest", f"For which {series.label_name} is {name} lowest?", ranked[0][1]))
    if numbers:
        for place in rng.sample(range(len(values)), min(2, len(values))):
            turns.append(("value", f"What is {name} for {series.labels[place]}?", series.values[name][place]))
    return rng.sample(turns, len(turns))


def math_turns(series: Series, numbers: bool, rng: random.Random) -> list[Turn]:
    """What must be compared or computed. Differences and sums only where the values are written."""
    name = rng.choice(sorted(series.values))
    cells = dict(zip(series.labels, series.numbers(name), strict=True))
    a, b = rng.sample(series.labels, 2)
    turns: list[Turn] = []
    if apart(series, cells[a], cells[b]):
        answer = "yes" if cells[a] > cells[b] else "no"
        turns.append(("compare", f"Is {name} higher for {a} than for {b}?", answer))
    if numbers:
        more, less = sorted((a, b), key=lambda label: -cells[label])
        question = f"By how much is {name} higher for {more} than for {less}?"
        if cells[more] > cells[less]:
            turns.append(("difference", question, f"{cells[more] - cells[less]:f}"))
        turns.append(("sum", f"What is the sum of {name} for {a} and {b}?", f"{cells[a] + cells[b]:f}"))
    ranked = sorted(cells.values())
    gaps = [(low, high) for low, high in pairwise(ranked) if apart(series, low, high)]
    if gaps:
        low, high = rng.choice(gaps)
        level = _between(low, high)
        count = sum(value > level for value in cells.values())
        turns.append(("count_above", f"For how many {series.label_name} values is {name} above {level:f}?", str(count)))
    if series.ordered:
        turns += _trends(series, name, cells, rng)
    if len(series.values) > 1:
        first, second = rng.sample(sorted(series.values), 2)
        at = rng.randrange(len(series.labels))
        one, two = series.numbers(first)[at], series.numbers(second)[at]
        if apart(series, one, two):
            question = f"Which is higher for {series.labels[at]}, {first} or {second}?"
            turns.append(("which", question, first if one > two else second))
    return rng.sample(turns, len(turns))


def _trends(series: Series, name: str, cells: Mapping[str, Decimal], rng: random.Random) -> list[Turn]:
    turns: list[Turn] = []
    start, end = sorted(rng.sample(range(len(series.labels)), 2))
    early, late = series.labels[start], series.labels[end]
    if apart(series, cells[early], cells[late]):
        question = f"Does {name} rise or fall from {early} to {late}?"
        turns.append(("trend", question, "rises" if cells[late] > cells[early] else "falls"))
    steps = [(cells[b] - cells[a], a, b) for a, b in pairwise(series.labels)]
    if all(apart(series, cells[a], cells[b]) for _, a, b in steps):
        rising = sum(step > 0 for step, _, _ in steps)
        question = f"How many times does {name} rise from one {series.label_name} to the next?"
        turns.append(("rises", question, str(rising)))
    ranked = sorted(steps, reverse=True)
    if ranked[0][0] > 0 and (len(ranked) == 1 or apart(series, ranked[0][0], ranked[1][0])):
        question = f"From which {series.label_name} to the next does {name} rise most?"
        turns.append(("steepest", question, f"from {ranked[0][1]} to {ranked[0][2]}"))
    return turns


def apart(series: Series, one: Decimal, two: Decimal) -> bool:
    """Whether two values differ by more than the eye can miss on the chart."""
    cells = [value for name in series.values for value in series.numbers(name)]
    return abs(one - two) >= CLEAR * (max(*cells, Decimal(0)) - min(*cells, Decimal(0)))


def _between(low: Decimal, high: Decimal) -> Decimal:
    """The number with fewest digits that lies well between two others."""
    edge = (high - low) / 4
    power = Decimal(10) ** 12
    while True:
        level = ((low + high) / 2 / power).quantize(Decimal(1)) * power
        if low + edge < level < high - edge:
            return level
        power /= 10


def cell_turns(cells: Sequence[Sequence[str]], numeric: Sequence[int], rng: random.Random) -> list[Turn]:
    """Questions about a drawn table: its head is ``cells[0]``, its rows are named by their first cells."""
    head, *body = cells
    row, column = rng.choice(body), rng.randrange(1, len(head))
    turns: list[Turn] = [("cell", f"What is the {head[column]} of {row[0]}?", row[column])] if row[column] else []
    turns.append(("rows", "How many rows does the table have below its head?", str(len(body))))
    turns.append(("columns", "How many columns does the table have?", str(len(head))))
    for column in numeric:
        ranked = sorted((Decimal(row[column]), row[0]) for row in body if row[column])
        if len(ranked) == len(body) > 1 and ranked[-1][0] > ranked[-2][0]:
            turns.append(("highest", f"Which {head[0]} has the highest {head[column]}?", ranked[-1][1]))
        if len(ranked) == len(body) > 1 and ranked[0][0] < ranked[1][0]:
            turns.append(("lowest", f"Which {head[0]} has the lowest {head[column]}?", ranked[0][1]))
    return rng.sample(turns, len(turns))


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A table as Markdown; bars inside cells are escaped."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in cells[0]) + " |", *lines[1:]])


def chart_cells(series: Series) -> list[list[str]]:
    """The table that a chart shows."""
    rows = zip(series.labels, *series.values.values(), strict=True)
    return [[series.label_name, *series.values], *(list(row) for row in rows)]


def chart_code(series: Series, kind: str, tints: Mapping[str, str]) -> str:
    """Matplotlib code that draws the chart."""
    lines = ["import matplotlib.pyplot as plt", "", f"labels = {_listed(map(_quoted, series.labels))}"]
    call: dict[str, Callable[[int], str]] = {
        "bar": lambda k: f"plt.bar({_shifted(k, len(tints))}, values{k}, {0.75 / len(tints):.2f}, color=",
        "barh": lambda k: f"plt.barh({_shifted(k, len(tints))}, values{k}, {0.75 / len(tints):.2f}, color=",
        "line": lambda k: f"plt.plot(labels, values{k}, marker='o', color=",
    }
    for number, (name, cells) in enumerate(series.values.items()):
        lines.append(f"values{number} = {_listed(f'{Decimal(cell):f}' for cell in cells)}")
        lines.append(f"{call[kind](number)}{_quoted(tints[name])}, label={_quoted(name)})")
    sides = ("x", "y") if kind != "barh" else ("y", "x")
    if kind != "line" and len(tints) > 1:
        lines.append(f"plt.{sides[0]}ticks(range(len(labels)), labels)")
    if kind == "barh":
        lines.append("plt.gca().invert_yaxis()")
    lines += [f"plt.title({_quoted(series.title)})", f"plt.{sides[0]}label({_quoted(series.label_name)})"]
    lines.append("plt.legend()" if len(tints) > 1 else f"plt.{sides[1]}label({_quoted(next(iter(series.values)))})")
    return "\n".join([*lines, "plt.show()"])


def _shifted(number: int, count: int) -> str:
    if count == 1:
        return "labels"
    return f"[k {(number - (count - 1) / 2) * 0.75 / count:+.2f} for k in range(len(labels))]"


def _quoted(text: str) -> str:
    return repr(text)


def _listed(parts: object) -> str:
    return f"[{', '.join(parts)}]"  # type: ignore[arg-type]


def code_data(code: str) -> dict[str, list]:
    """The lists that a chart's code assigns, read without running it.

    Raises:
        ValueError, SyntaxError: a list that is no literal, or no Python.
    """
    found = {}
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found
