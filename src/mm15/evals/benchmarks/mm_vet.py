"""MM-Vet (arXiv 2308.02490): 218 open questions that need several abilities at once, graded by a judge from 0 to 1.

``score`` is 100 times the mean grade; beside it stand the means over the questions that need each ability: recognition
(rec), ocr, knowledge (know), language generation (gen), spatial awareness (spat) and math. A grade that cannot be read
counts 0, as in the published evaluations; ``readable`` is the share of those that could. An empty answer is not shown
to the judge and counts 0.

Files: the authors' ``mm-vet.json`` beside ``images/``, the parquet release of lmms-lab, or VLMEvalKit's ``MMVet.tsv``.
The judge's prompt is the authors'. The question is asked after lmms-eval's request to reason first;
``--set mm-vet.reasoning=false`` asks it as it is, as the authors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.evals.files import Files, Release, RowAt
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import mm_vet_score

NAME = "mm-vet"
SUITE = "paper"
CATEGORY = "general"
METRIC = "score"
SPLIT = "test"
MAX_NEW_TOKENS = 1024
CHECKS: list[tuple[str, str, float]] = []
ABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
REASONING = (
    "First please perform reasoning, and think step by step to provide best answer to the following question: \n\n"
)
_MEME = (
    "Can you explain this meme? | This meme is poking fun at the fact that the names of the countries Iceland and "
    "Greenland are misleading. Despite its name, Iceland is known for its beautiful green landscapes, while Greenland "
    "is mostly covered in ice and snow. The meme is saying that the person has trust issues because the names of these "
    "countries do not accurately represent their landscapes. | "
)
GRADING = (
    "Compare the ground truth and prediction from AI models, to give a correctness score for the prediction. <AND> in "
    "the ground truth means it is totally right only when all elements in the ground truth are present in the "
    "prediction, and <OR> means it is totally right when any one element in the ground truth is present in the "
    "prediction. The correctness score is 0.0 (totally wrong), 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, or 1.0 "
    "(totally right). Just complete the last space of the correctness score.\n\n"
    "Question | Ground truth | Prediction | Correctness\n"
    "--- | --- | --- | ---\n"
    "What is x in the equation? | -1 <AND> -5 | x = 3 | 0.0\n"
    "What is x in the equation? | -1 <AND> -5 | x = -1 | 0.5\n"
    "What is x in the equation? | -1 <AND> -5 | x = -5 | 0.5\n"
    "What is x in the equation? | -1 <AND> -5 | x = -5 or 5 | 0.5\n"
    "What is x in the equation? | -1 <AND> -5 | x = -1 or x = -5 | 1.0\n"
    f"{_MEME}The meme talks about Iceland and Greenland. It's pointing out that despite their names, Iceland is not "
    "very icy and Greenland isn't very green. | 0.4\n"
    f"{_MEME}The meme is using humor to point out the misleading nature of Iceland's and Greenland's names. Iceland, "
    "despite its name, has lush green landscapes while Greenland is mostly covered in ice and snow. The text 'This is "
    "why I have trust issues' is a playful way to suggest that these contradictions can lead to distrust or confusion. "
    "The humor in this meme is derived from the unexpected contrast between the names of the countries and their "
    "actual physical characteristics. | 1.0\n"
)


class Options(Strict):
    """``reasoning``: whether the model is asked to reason first."""

    reasoning: bool = True


RELEASES = (
    Release(("mm-vet.json",), ("imagename", "question", "answer", "capability"), 218, form="keyed", name="authors"),
    Release(
        ("test*.parquet", "data/test*.parquet"),
        ("question_id", "image", "question", "answer", "capability"),
        218,
        ("image",),
    ),
    Release(("MMVet.tsv",), ("index", "image", "question", "answer", "category"), 218, ("image",), name="table"),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the abilities that a question needs, such as ``ocr,math``."""
    options = files.options or Options()
    return files.items(RELEASES, partial(_item, before=REASONING if options.reasoning else ""))


def _item(row: dict[str, Any], at: RowAt, release: Release, before: str) -> Item:
    picture = at.image(f"images/{row['imagename']}" if release.name == "authors" else row["image"])
    named = row["category" if release.name == "table" else "capability"]
    needed = {name.strip() for name in (named if isinstance(named, list) else str(named).split(","))}
    if not needed or not needed <= set(ABILITIES):
        raise SkipSample(f"unknown ability in {named!r}; known: {', '.join(ABILITIES)}")
    abilities = [name for name in ABILITIES if name in needed]
    asked = str(row["question"])
    parts = (picture, f"\n{before}{asked}")
    return question(NAME, at.number, parts, str(row["answer"]), ",".join(abilities), asked=asked, abilities=abilities)


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """The grading table with this answer as its last row; none for an empty answer."""
    if not answer.strip():
        return []
    (reference,) = texts(item)
    reference = reference.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    content = GRADING + "\n" + " | ".join([item.facts["asked"], reference, answer, ""])
    return [[{"role": "user", "content": content}]]


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """The grade, also under the name of every ability that the question needs."""
    grade = mm_vet_score(replies[0]) if replies else 0.0
    values = dict.fromkeys([METRIC, *item.facts["abilities"]], grade or 0.0)
    return values | {"readable": float(grade is not None)} if replies else values
