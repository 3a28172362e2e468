"""Few-shot evaluation of pre-trained models (MM1, arXiv 2403.09611), a driver of our own.

A question becomes one pre-training document that the model goes on with: for every demonstration its picture, the
prompt and the right answer, a line each; then the picture and the prompt of the question. Demonstrations come from the
training split. As in OpenFlamingo (``eval/utils.py``), a pool of rows is drawn once, and every question draws its own
from the pool; both draws depend on the seed and the place of the question only, so that all models see the same. The
four demonstrations of a four-shot prompt are the first of its eight-shot prompt.

The primary number is the one at the most shots that are asked for (eight by default, by which MM1 chooses between
recipes); ``<metric>_0shot`` and so on stand beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from mm15.base.config import Strict
from mm15.base.errors import DataError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import ImagePart, Part, TextPart, document
from mm15.evals.files import Files, Make, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.scoring import cider, few_shot_answer, few_shot_caption, token_f1, vqa_accuracy
from mm15.evals.table import Table, Values, plain_means

Shots = Literal[0, 4, 8, 16]
MOST = 16
TEXT_ONLY = 2
"""Demonstrations without their pictures that OpenFlamingo's zero-shot prompt has, after Flamingo."""


class Options(Strict):
    """What a user may set, for all few-shot benchmarks."""

    shots: tuple[Shots, ...] = Field(default=(0, 4, 8), min_length=1)
    """Numbers of demonstrations; every question is asked once with each."""
    style: Literal["mm1", "openflamingo"] = "mm1"
    """MM1: "A photo of" and "Question: .. Short answer:". OpenFlamingo: "Output:" and the same question without the
    first space; its zero-shot prompt has two demonstrations without pictures."""
    seed: int = 0
    pool: int = Field(default=2048, ge=16)
    """Rows of the training split from which demonstrations are drawn."""
    mixed_resolution: int = Field(default=0, ge=0)
    """So many of the last pictures may be split, the others are seen whole (MM1). At most ``split.max_split_images`` of
    the processor, or none is split. 0: all pictures alike, so none is split where there are more of them than that."""

    @field_validator("shots")
    @classmethod
    def _each_once(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        """The most first, so that a limit on questions never leaves the primary number out."""
        return tuple(sorted(set(shots), reverse=True))


class QuestionOptions(Options):
    """The same, for questions."""

    chain_of_thought: bool = False
    """Demonstrations reason before they answer. No official training split has reasons, so they are read from
    ``rationales.jsonl`` in the benchmark's folder: ``{"image", "question", "rationale", "answer"}``."""


REASONED = (Release(("rationales.jsonl",), ("image", "question", "rationale", "answer")),)
REASONING_TOKENS = 256
Write = Callable[[Item, Options], tuple[str, str]]
"""A question → the prompt after its picture, and the right answer after that."""
Line = tuple[ImagePart, TextPart]
"""A demonstration: its picture, and all that is said about it."""


def few_shot(
    files: Files,
    releases: Sequence[Release],
    train: Sequence[Release],
    make: Make,
    write: Write,
    source: str = "",
    asked: Make | None = None,
) -> list[Item]:
    """The questions of ``releases``, each as a document with every number of demonstrations from ``train``.

    Args:
        make: a row of either → what ``shown_with`` makes of it.
        source: the benchmark in whose folder the training split lies; default: this one.
        asked: the same of ``releases`` only, where those rows are different.

    Raises:
        DataError: see ``Files.items``; or the training split is needed and not there, or too small.
    """
    options: Options = files.options or Options()
    problems, items, pool = [], [], []
    try:
        items = files.items(releases, asked or make)
    except DataError as error:
        problems.append(str(error))
    most = max(options.shots)
    needed = max(most, TEXT_ONLY if options.style == "openflamingo" and 0 in options.shots else 0)
    if needed:
        try:
            pool = _pool(replace(files, benchmark=source or files.benchmark), train, make, needed, options)
        except DataError as error:
            problems.append(
                f"{error}\n{files.benchmark}: demonstrations are drawn from the training split; get it, or ask for "
                f"none with --set {files.benchmark}.shots=[0]"
            )
    if problems:
        raise DataError("\n".join(problems))
    lines = [_line(shown, write, options) for shown in pool]
    documents = []
    for number, item in enumerate(items):
        chosen: list[Line] = []
        if lines:
            dice = numpy_rng(options.seed, "demonstrations", item.sample.source, number)
            drawn = dice.choice(len(lines), min(MOST, len(lines)), replace=False)
            chosen = [lines[place] for place in drawn.tolist()]
        prompt = TextPart(write(item, options)[0])
        documents += [_document(item, prompt, shots, chosen, options) for shots in options.shots]
    return documents


def _pool(files: Files, train: Sequence[Release], make: Make, needed: int, options: Options) -> list[Item]:
    if isinstance(options, QuestionOptions) and options.chain_of_thought:
        train, make = REASONED, _reasoned
    pool = files.draw(train, make, options.pool, options.seed)
    if len(pool) < needed:
        raise DataError(f"{files.benchmark}: {len(pool)} rows to draw {needed} demonstrations from")
    return pool


def _reasoned(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    del release
    reasons = row["rationale"]
    if not isinstance(reasons, str) or not reasons.strip():
        raise SkipSample(f"'rationale' must say something, found {reasons!r}")
    return shown_with(at, row["image"], row["question"], [str(row["answer"])], rationale=" ".join(reasons.split()))


def shown_with(at: RowAt, picture: object, asked: str, answers: Sequence[str], group: str = "", **facts: Any) -> Item:
    """A row as a picture with a question (or "") and right answers, which ``few_shot`` makes a document of."""
    return question(at.source, at.number, (at.image(picture), asked.strip()), answers, group=group, **facts)


def _line(item: Item, write: Write, options: Options) -> Line:
    prompt, right = write(item, options)
    return item.sample.images[0], TextPart(f"{prompt}{right}\n")


def _document(item: Item, prompt: TextPart, shots: int, chosen: Sequence[Line], options: Options) -> Item:
    """One question after ``shots`` demonstrations."""
    parts: list[Part] = [part for line in chosen[:shots] for part in line]
    if shots == 0 and options.style == "openflamingo":
        parts = [text for _, text in chosen[:TEXT_ONLY]]
    parts += [*item.sample.images, prompt]
    if options.mixed_resolution:
        pictures = [place for place, part in enumerate(parts) if isinstance(part, ImagePart)]
        for place in pictures[: -options.mixed_resolution]:
            parts[place] = _whole(parts[place])
    reasons = isinstance(options, QuestionOptions) and options.chain_of_thought
    facts = {"shots": shots, "most": shots == max(options.shots), "style": options.style, "reasons": reasons}
    return Item(
        replace(item.sample, key=f"{item.key}/{shots}-shot", messages=(document(*parts),)),
        item.references,
        task=f"{shots}-shot",
        group=item.group or item.key,
        facts={**item.facts, **facts},
        max_new_tokens=REASONING_TOKENS if reasons else 0,
    )


def _whole(part: Part) -> Part:
    return replace(part, split=False) if isinstance(part, ImagePart) else part


# ---- captions ----


def write_caption(item: Item, options: Options) -> tuple[str, str]:
    """MM1: ``{picture} A photo of {caption}``; OpenFlamingo: ``{picture}Output:{caption}``. The first caption."""
    caption = " ".join(texts(item)[0].split())
    return ("Output:", caption) if options.style == "openflamingo" else (" A photo of", f" {caption}")


def caption_list(value: Any) -> list[str]:
    """The captions in a cell.

    Raises:
        SkipSample: no list of texts, or none.
    """
    if not isinstance(value, list) or not value or not all(isinstance(caption, str) for caption in value):
        raise SkipSample(f"expected a list of captions, found {str(value)[:80]!r}")
    return value


def caption_scores(answers: Sequence[str], items: Sequence[Item]) -> list[dict[str, float]]:
    """``cider`` of every picture at the most shots, ``cider_<k>shot`` at every number of them, over the pictures asked.

    One picture alone has no CIDEr. ``token_f1``, the best over the captions, tells how good a single one is.
    """
    values: list[dict[str, float]] = [{} for _ in items]
    for shots in dict.fromkeys(item.facts.get("shots", 0) for item in items):
        places = [place for place, item in enumerate(items) if item.facts.get("shots", 0) == shots]
        captions = [few_shot_caption(answers[place], items[place].facts.get("style", "mm1")) for place in places]
        found = cider(captions, [texts(items[place]) for place in places]).per_item
        for place, caption, value in zip(places, captions, found, strict=True):
            most = items[place].facts.get("most", True)
            if len(places) > 1:
                values[place] = {**({"cider": value} if most else {}), f"cider_{shots}shot": value}
            if most:
                values[place]["token_f1"] = token_f1(caption, texts(items[place])) if caption else 0.0
    return values


def combine_captions(table: Table) -> dict[str, Values]:
    """100 times each mean, as CIDEr is published; 0 for a single picture."""
    means = plain_means(table)
    return means if "cider" in means else {"cider": np.zeros_like(next(iter(means.values()))), **means}


# ---- questions ----


def write_question(item: Item, options: Options) -> tuple[str, str]:
    """``{picture} Question: {question} Short answer: {answer}``, the most frequent of the answers."""
    space = "" if options.style == "openflamingo" else " "
    asked, right = item.sample.messages[-1].text, ""
    if item.references:
        right = space + Counter(texts(item)).most_common(1)[0][0]
    if isinstance(options, QuestionOptions) and options.chain_of_thought:
        return f"{space}Question:{space}{asked} Reasoning:", f" {item.facts.get('rationale', '')} {ANSWER}{right}"
    return f"{space}Question:{space}{asked} {ANSWER}", right


ANSWER = "Short answer:"


def short_answer(answer: str, item: Item) -> str:
    """What is compared: the continuation up to where the model goes on by itself; with reasons, what follows them."""
    if item.facts.get("reasons"):
        answer = answer.partition(ANSWER)[2]
    return few_shot_answer(answer, item.facts.get("style", "mm1"))


def question_scores(answer: str, item: Item) -> dict[str, float]:
    """VQA accuracy as OpenFlamingo's ``vqa_metric.py`` has it, which is that of the first VQA toolkit."""
    short = short_answer(answer, item)
    value = vqa_accuracy(short, texts(item), rule="vqav2", normalise_if_disagree=True) if short else 0.0
    scores = {f"vqa_accuracy_{item.facts.get('shots', 0)}shot": value}
    return {"vqa_accuracy": value, **scores} if item.facts.get("most", True) else scores


QUESTION_CHECKS = [
    ("yes\nQuestion: who", ["yes"] * 10, 1.0),
    ("Yes", ["yes"] * 10, 0.0),  # the toolkit compares to the letter where all agree
    ("Yes", ["yes"] * 9 + ["no"], 1.0),
    ("two, I think", ["2"] * 2 + ["3"] * 8, 0.6),
    ("two dogs", ["2"] * 10, 0.0),
    ("", ["a"] * 9 + ["the"], 0.0),
]


def best_answer(item: Item) -> str:
    """The most frequent right answer."""
    return Counter(texts(item)).most_common(1)[0][0]
