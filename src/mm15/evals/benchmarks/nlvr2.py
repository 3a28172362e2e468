"""NLVR2 (arXiv 1811.00491), public test split: whether a sentence is true of two photographs, by accuracy.

Files: the authors' ``test1.json`` (a row per line: ``identifier, sentence, label``) beside the pictures
``test1-850-0-img0.png`` and ``..img1.png``; the parquet release TIGER-Lab/NLVR2 (``id, question_type, question, images,
options, answer``); or the parquet release of LLaVA-NeXT-Interleave-Bench, whose ``sub_task`` is NLVR2_Mantis
(``question, answer, image_0, image_1``; other pictures are not shown). Sentences of the authors' file are asked in
words of ours, with lmms-eval's hint for short answers; the other two bring their question and options with them.
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._options import LETTER_HINT, LETTERS, with_options
from mm15.evals.benchmarks._pictures import bare_option, find_picture, placed
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, check_item, question, texts
from mm15.evals.scoring import choice_letter, multiple_choice, true_false

NAME = "nlvr2"
SUITE = "paper"
CATEGORY = "multi_image"
METRIC = "accuracy"
SPLIT = "test1"
MAX_NEW_TOKENS = 16
ROWS = 6967
HINT = "\nAnswer the question using a single word or phrase."
_OPTIONS = check_item("A", options=["True", "False"])
CHECKS = [
    ("True", "True", 1.0),
    ("yes.", "True", 1.0),
    ("True", "False", 0.0),
    ("true or false", "True", 0.0),
    ("A", _OPTIONS, 1.0),
    ("(B) False", _OPTIONS, 0.0),
]

RELEASES = (
    Release(("test1.json", "data/test1.json"), ("identifier", "sentence", "label"), ROWS, form="lines", name="authors"),
    Release(
        ("nlvr2/test*.parquet", "data/test*.parquet", "test*.parquet"),
        ("id", "question_type", "question", "images", "options", "answer"),
        ROWS,
        ("images",),
        name="mantis",
    ),
    Release(
        ("in_domain/test*.parquet",),
        ("sample_id", "sub_task", "question", "answer", "image_0", "image_1"),
        0,
        ("image_0", "image_1"),
        only={"sub_task": "NLVR2_Mantis"},
        name="interleave",
    ),
)
FOLDERS = ("", "test1", "images", "images/test1")
"""Where the authors' pictures are looked for."""


def read(files: Files) -> list[Item]:
    """The sentences of test-P. Those of one set of eight photographs share their group."""
    return files.items(RELEASES, {"authors": _authors, "mantis": _mantis, "interleave": _interleave}[_name(files)])


def _name(files: Files) -> str:
    return files.release(RELEASES)[0].name


def _authors(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    pieces = str(row["identifier"]).split("-")
    if len(pieces) != 4 or pieces[0] != SPLIT:
        raise SkipSample(f"identifier {row['identifier']!r} is none of test-P ({SPLIT}-set-pair-sentence)")
    label = str(row["label"])
    if label not in ("True", "False"):
        raise SkipSample(f"'label' is True or False, found {label!r}")
    pictures = [find_picture(at, f"{'-'.join(pieces[:3])}-img{k}.png", FOLDERS) for k in (0, 1)]
    asked = f"Here is a statement about the two images: {row['sentence']}\nIs it true or false?{HINT}"
    return question(NAME, row["identifier"], placed(asked, pictures), label, group=pieces[1])


def _mantis(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    pictures = [at.image(picture) for picture in row["images"]]
    if len(pictures) != 2:
        raise SkipSample(f"NLVR2 shows two pictures, found {len(pictures)}")
    options = [bare_option(option) for option in row["options"]]
    right = next((character.upper() for character in row["answer"] if character.isalpha()), "")
    if not options:
        return question(NAME, row["id"], placed(row["question"] + HINT, pictures), row["answer"])
    if not right or right not in LETTERS[: len(options)]:
        raise SkipSample(f"the right answer {row['answer']!r} is none of the {len(options)} options")
    parts = placed(with_options(row["question"], options) + LETTER_HINT, pictures)
    return question(NAME, row["id"], parts, right, options=options)


def _interleave(row: dict[str, Any], at: RowAt, release: Release) -> Item:
    pictures = [at.image(row["image_0"]), at.image(row["image_1"])]
    letter = choice_letter(row["answer"])
    facts: dict[str, Any] = {"options": ["True", "False"]} if letter else {}
    return question(NAME, row["sample_id"], placed(row["question"], pictures), letter or row["answer"], **facts)


def score(answer: str, item: Item) -> dict[str, float]:
    """The letter where there are options, else true or false (yes and no count as these)."""
    if "options" in item.facts:
        return {"accuracy": multiple_choice(answer, texts(item), item.facts["options"], "mantis")}
    return {"accuracy": true_false(answer, texts(item))}
