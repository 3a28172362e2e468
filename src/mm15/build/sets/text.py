"""Documents → plain text and text-only questions; and sums, science and code questions, worked out twice.

Formats and their data sets, up to n rows of each:

- ``text``: ``plain`` (text): passages of up to 2,000 characters, in the order of their documents.
- ``llava``: ``passages`` (questions about a passage, its answer stands in it), ``arithmetic``, ``science`` and
  ``code-text`` ("What does this program print?"), all of them text_only.

Documents are ``.txt``, ``.md``, ``.rst``, HTML and PDF files; of PDFs the pages whose text layer can be trusted. A
passage that occurs twice is used once.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.rng import python_rng, seed_of
from mm15.build._figures import prose
from mm15.build._inputs import Found
from mm15.build._manuals import Heading, read_html
from mm15.build._page_parts import Parts
from mm15.build._pdf import page_count, read_page
from mm15.build._sets import Side
from mm15.build._text_items import (
    CODE_TASKS,
    PASSAGE_TASKS,
    SCIENCE_TASKS,
    SUM_TASKS,
    Turn,
    code_item,
    passage_item,
    science_item,
    sum_item,
)
from mm15.build.materials import Split

FORMATS = ("text", "llava")
N = 2000
SIZE = 64
PLAIN = (".txt", ".md", ".rst")
HTML = (".html", ".htm", ".xhtml")
MAX_TEXT, MAX_PASSAGE, LEAST = 2000, 600, 60
"""Most characters of a text and of a passage that is asked about, and fewest of a paragraph."""
TRIES = 80


@dataclass(frozen=True, slots=True)
class Prose:
    """The paragraphs of one document, or why it has none."""

    name: str
    paragraphs: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...] = ()


def build(side: Side) -> None:
    """Write the data sets of one side."""
    documents = [document for document in read_documents(side) if document.paragraphs]
    seed = side.seed
    if side.wants("text"):
        side.add("plain", texts(documents, side.n, seed), "text", "text")
    if not side.wants("llava"):
        return
    passages = [text for document in documents for text in joined(document.paragraphs, MAX_PASSAGE)]
    materials, split = side.materials, side.split
    facts = {name: materials.facts[name] for name in (materials.names if split == "train" else sorted(materials.facts))}
    makers: dict[str, tuple[tuple[str, ...], Callable[[str, random.Random], Turn | None]]] = {
        "passages": (PASSAGE_TASKS, lambda task, rng: passage_item(task, rng.choice(passages), rng)),
        "arithmetic": (SUM_TASKS, sum_item),
        "science": (SCIENCE_TASKS, lambda task, rng: science_item(task, facts, rng)),
        "code-text": (CODE_TASKS, lambda task, rng: code_item(task, materials.words(split), rng)),
    }
    for name, (tasks, make) in makers.items():
        if name != "passages" or passages:
            ours = None if name == "passages" else side.split
            side.add(name, questions(name, tasks, make, side.n, seed, ours), "llava", "text_only")


def questions(
    name: str,
    tasks: tuple[str, ...],
    make: Callable[[str, random.Random], Turn | None],
    n: int,
    seed: int,
    split: Split | None = None,
) -> list[dict[str, Any]]:
    """Up to ``n`` different questions; tasks take turns.

    Args:
        split: of questions that are made of nothing, one in ten is held out by its own hash, whatever was asked for.
    """
    seen: set[str] = set()
    rows = []
    for index in range(n):
        rng = python_rng(seed, name, index)
        for _ in range(TRIES):
            made = make(tasks[index % len(tasks)], rng)
            if made and made[1] not in seen and (split is None or _side_of(made[1]) == split):
                task, question, answer = made
                seen.add(question)
                turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
                rows.append({"id": f"{name}/{index:06d}", "conversations": turns, "task": task})
                break
    return rows


def _side_of(question: str) -> Split:
    return "heldout" if seed_of(0, "question", question) % 10 == 0 else "train"


def texts(documents: Iterable[Prose], n: int, seed: int) -> list[dict[str, Any]]:
    """Up to ``n`` texts, drawn at random from all, in the order of the documents."""
    found = [
        {"text": text, "document": document.name}
        for document in documents
        for text in joined(document.paragraphs, MAX_TEXT)
    ]
    kept = sorted(python_rng(seed, "texts").sample(range(len(found)), min(n, len(found))))
    return [found[place] | {"id": f"plain/{place:06d}"} for place in kept]


def joined(paragraphs: Iterable[str], longest: int) -> list[str]:
    """Neighbouring paragraphs together, at most so many characters; longer ones cut at a sentence."""
    found: list[str] = []
    for paragraph in paragraphs:
        for part in _cut(paragraph, longest):
            if found and len(found[-1]) + len(part) + 2 <= longest:
                found[-1] += f"\n\n{part}"
            else:
                found.append(part)
    return found


def _cut(paragraph: str, longest: int) -> list[str]:
    parts = []
    while len(paragraph) > longest:
        ends = [match.end() for match in re.finditer(r"[.!?](?= )", paragraph[:longest])]
        end = ends[-1] if ends else paragraph.rfind(" ", 0, longest)
        end = end if end > 0 else longest
        parts.append(paragraph[:end].strip())
        paragraph = paragraph[end:].strip()
    return [*parts, paragraph] if paragraph else parts


def read_documents(side: Side) -> list[Prose]:
    """The documents of this side; a paragraph that was there before is left out and counted."""
    if not side.request.inputs:
        return [Prose("shipped", tuple(side.materials.paragraphs(side.split)))]
    seen: set[bytes] = set()
    documents = []
    for document in side.each(partial(read_document), side.files(*PLAIN, *HTML, ".pdf")):
        side.drop_all(document.dropped)
        kept = []
        for paragraph in document.paragraphs:
            digest = hashlib.sha256(paragraph.encode()).digest()
            if digest in seen:
                side.drop("a paragraph that stands elsewhere too", document.name)
            else:
                seen.add(digest)
                kept.append(paragraph)
        documents.append(Prose(document.name, tuple(kept)))
    return documents


def read_document(file: Found) -> Prose:
    """Paragraphs of a file; what cannot be read is named."""
    dropped: list[tuple[str, str]] = []
    try:
        lower = file.name.lower()
        if lower.endswith(".pdf"):
            found = _pdf_paragraphs(file.path, dropped)
        elif lower.endswith(HTML):
            root = file.path.parents[file.name.count("/")]
            blocks, _ = read_html(file.path, root)
            found = [block for block in blocks if isinstance(block, str) and not isinstance(block, Heading)]
        else:
            found = re.split(r"\n\s*\n", file.path.read_text(encoding="utf-8-sig"))
    except SkipSample as skip:
        return Prose(file.name, (), ((skip.reason, skip.address),))
    except UnicodeDecodeError:
        return Prose(file.name, (), (("not UTF-8 text", str(file.path)),))
    paragraphs = [" ".join(text.split()) for text in found]
    kept = tuple(text for text in paragraphs if len(text) >= LEAST and text.isprintable())
    if not kept and not dropped:
        dropped.append((f"no paragraph of {LEAST} characters or more", str(file.path)))
    return Prose(file.name, kept, tuple(dropped))


def _pdf_paragraphs(path: Path, dropped: list[tuple[str, str]]) -> list[str]:
    found = []
    for page in range(page_count(path)):
        try:
            found += [prose(lines) for lines in Parts(read_page(path, page)).paragraphs]
        except SkipSample as skip:
            dropped.append((skip.reason, f"{path}#{page}"))
    return found
