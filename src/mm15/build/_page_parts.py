"""What stands on a real page: lines, paragraphs, tables and keys with values, each with the place where it is seen.

Found by geometry alone, and only where geometry leaves no doubt: a page may have more tables than are found here.
Boxes are (x1, y1, x2, y2) in PDF points from the top left of what the page shows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median

from mm15.build._pdf import Line, PageText, Word, below, page_handle, text_of
from mm15.text.legible import SOFT_HYPHENS, sayable

Rect = tuple[float, float, float, float]

LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"} | dict.fromkeys(SOFT_HYPHENS, "-")
)
KEY_VALUE = re.compile(r"([A-Z][A-Za-z/'-]+(?: [A-Za-z/'()-]+){0,3}): +(\S.{0,38}\S|\S)")
IMAGE = 3
"""Objects of that kind are pictures (pdfium's FPDF_PAGEOBJ_IMAGE)."""
MAX_CELL = 32
"""Most characters of a table's usual cell: longer ones are columns of prose."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table without doubt: every row has a cell in every column, columns are flush, rows are evenly apart."""

    cells: tuple[tuple[str, ...], ...]
    lines: tuple[Line, ...]
    """The lines of all cells, row by row."""


@dataclass(frozen=True, slots=True)
class Pair:
    """``key: value`` on one line; the key stands once on the page."""

    key: str
    value: str
    line: Line


@dataclass(frozen=True)
class Parts:
    """A page and what is found on it."""

    page: PageText

    @cached_property
    def frame(self) -> Rect:
        """What the page shows, in its own points: left, bottom, right, top."""
        return tuple(page_handle(self.page).get_bbox())

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in points."""
        left, bottom, right, top = self.frame
        return right - left, top - bottom

    @cached_property
    def lines(self) -> list[Line]:
        """Lines of words that lie on the page; some files place text beyond its edge.

        A line that the edge cuts through a word is left out as a whole: its other words are not all that it shows.
        """
        kept = [tuple(word for word in line if self._inside(word)) for line in self.page.lines if not self._cut(line)]
        return [line for line in kept if line]

    @cached_property
    def is_whole(self) -> bool:
        """Whether ``lines`` are all that the page shows: its edge cuts through no word."""
        return not any(map(self._cut, self.page.lines))

    def _inside(self, word: Word) -> bool:
        left, bottom, right, top = self.frame
        return all(left <= g.left and g.right <= right and bottom <= g.bottom and g.top <= top for g in word)

    def _cut(self, line: Line) -> bool:
        """Whether a word of the line is seen in part."""
        left, bottom, right, top = self.frame
        return any(
            any(g.left < right and left < g.right and g.bottom < top and bottom < g.top for g in word)
            for word in line
            if not self._inside(word)
        )

    def box(self, words: Sequence[Word]) -> Rect:
        """The box of some words."""
        # The lines of a page live as long as this object, so nothing else has their identity.
        return self._boxes.get(id(words)) or self._box(words)

    @cached_property
    def _boxes(self) -> dict[int, Rect]:
        return {id(line): self._box(line) for line in self.lines}

    def _box(self, words: Sequence[Word]) -> Rect:
        left, _, _, top = self.frame
        glyphs = [glyph for word in words for glyph in word]
        return (
            min(g.left for g in glyphs) - left,
            top - max(g.top for g in glyphs),
            max(g.right for g in glyphs) - left,
            top - min(g.bottom for g in glyphs),
        )

    def alone(self, words: Sequence[Word], margin: float = 2.0) -> bool:
        """Whether no other word reaches into the box of these, ``margin`` points wider on every side."""
        x1, y1, x2, y2 = self.box(words)
        mine = {id(word) for word in words}
        # Words that are not on any line here, cut by the page's edge, are in the way as well.
        others = (self._box([word]) for line in self.page.lines for word in line if id(word) not in mine)
        return not any(
            a < x2 + margin and x1 - margin < c and b < y2 + margin and y1 - margin < d for a, b, c, d in others
        )

    @cached_property
    def pictures(self) -> list[Rect]:
        """Boxes of the pictures on the page."""
        left, _, _, top = self.frame
        found = page_handle(self.page).get_objects(filter=[IMAGE], max_depth=1)
        bounds = [item.get_bounds() for item in found]
        return [(x1 - left, top - y2, x2 - left, top - y1) for x1, y1, x2, y2 in bounds]

    @cached_property
    def paragraphs(self) -> list[tuple[Line, ...]]:
        """Two or more neighbouring flush-left lines with usual leading."""
        found: list[list[Line]] = []
        for line in self.lines:
            if found and below(found[-1][-1], line):
                found[-1].append(line)
            else:
                found.append([line])
        return [tuple(lines) for lines in found if len(lines) > 1]

    @cached_property
    def pairs(self) -> list[Pair]:
        """Keys with values; the value ends with the line, so no line of running text may follow."""
        matches = {id(line): KEY_VALUE.fullmatch(plain(line)) for line in self.lines}
        running = {
            id(upper) for lines in self.paragraphs for upper, lower in pairwise(lines) if matches[id(lower)] is None
        }
        found = [
            Pair(match[1], match[2], line)
            for line in self.lines
            if (match := matches[id(line)]) and sayable(match[0]) and id(line) not in running
        ]
        counted = Counter(pair.key.lower() for pair in found)
        return [pair for pair in found if counted[pair.key.lower()] == 1]

    @cached_property
    def grids(self) -> list[Grid]:
        """Tables of at least three rows and two columns."""
        return [grid for run in self._runs() if (grid := self._grid(run))]

    def _runs(self) -> Iterator[list[list[Line]]]:
        """Neighbouring rows with one number of cells, two or more."""
        rows = self._rows()
        run: list[list[Line]] = []
        for row in [*rows, []]:
            if run and len(row) == len(run[0]) and self._follows(run, row):
                run.append(row)
                continue
            if len(run) >= 3:
                yield run
            run = [row] if len(row) >= 2 else []

    def _rows(self) -> list[list[Line]]:
        """Lines that stand side by side, top to bottom, each row left to right."""
        rows: list[list[Line]] = []
        for line in sorted(self.lines, key=lambda line: self._middle(line)):
            if rows and abs(self._middle(rows[-1][0]) - self._middle(line)) < 3.5:
                rows[-1].append(line)
            else:
                rows.append([line])
        return [sorted(row, key=lambda line: line[0][0].left) for row in rows]

    def _middle(self, line: Line) -> float:
        _, y1, _, y2 = self.box(line)
        return (y1 + y2) / 2

    def _follows(self, run: Sequence[Sequence[Line]], row: Sequence[Line]) -> bool:
        gap = self._middle(row[0]) - self._middle(run[-1][0])
        if len(run) > 1:
            usual = self._middle(run[-1][0]) - self._middle(run[-2][0])
            return abs(gap - usual) < 0.35 * usual
        return gap < 40

    def _grid(self, run: Sequence[Sequence[Line]]) -> Grid | None:
        columns = list(zip(*run, strict=True))
        for column, following in zip(columns, [*columns[1:], None], strict=True):
            boxes = [self.box(line) for line in column]
            # A heading may be centred over its column.
            flush = boxes[1:] if len(boxes) > 3 else boxes
            if (
                min(_spread(edge) for edge in zip(*((x1, x2, (x1 + x2) / 2) for x1, _, x2, _ in flush), strict=True))
                > 3
            ):
                return None
            if following and max(x2 for _, _, x2, _ in boxes) + 4 > min(self.box(line)[0] for line in following):
                return None
        cells = tuple(tuple(plain(line) for line in row) for row in run)
        texts = [cell for row in cells for cell in row]
        if median(map(len, texts)) > MAX_CELL or not all(cell and sayable(cell) and "|" not in cell for cell in texts):
            return None
        if any(
            len(set(column)) < 2 or not any(map(str.isalnum, "".join(column))) for column in zip(*cells, strict=True)
        ):
            return None  # bullets or numbers in front of a list
        lines = tuple(line for row in run for line in row)
        words = [word for line in lines for word in line]
        x1, y1, x2, y2 = self._box(words)
        if any(a < x2 and x1 < c and b < y2 and y1 < d for a, b, c, d in self.pictures):
            return None  # what a picture in a cell says is not known
        return Grid(cells, lines) if self.alone(words, 4.0) else None


def _spread(edge: Sequence[float]) -> float:
    return max(edge) - min(edge)


def plain(words: Sequence[Word]) -> str:
    """The words as a reader would type them: ligatures as letters, soft hyphens as the hyphens that are drawn."""
    return " ".join(text_of(words).translate(LIGATURES).split())
