"""ActivityNet-QA (arXiv 1906.02467), test split: short answers about clips, judged right or wrong by a language model.

Files: the parquet release (``video_name, question_id, question, answer, type``), or the authors' ``test_q.json``
(``video_name, question, question_id``) with ``test_a.json`` (``answer, type, question_id``) beside it; clips are
``v_<video_name>.mp4``. Prompt as lmms-eval ``activitynetqa``, the judge's as Video-ChatGPT's, which both use. Reported:
share of yes, and the judge's mean score from 0 to 5. A reply that says neither yes nor no counts as no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mm15.base.errors import SkipSample
from mm15.evals.benchmarks._clips import find_clip
from mm15.evals.files import Files, Release, RowAt, read_rows
from mm15.evals.items import Item, question, texts
from mm15.evals.judge import Messages
from mm15.evals.scoring import qa_verdict
from mm15.evals.table import Table, Values

NAME = "activitynet-qa"
SUITE = "video"
CATEGORY = "video"
METRIC = "accuracy"
SPLIT = "test"
MAX_NEW_TOKENS = 64
ROWS = 8000
BEST = 5
"""Highest score of the judge."""
HINT = " Answer the question using a single word or phrase."
CHECKS: list[tuple[str, Any, float]] = []
FOLDERS = ("all_test", "videos", "")
SYSTEM = (
    "You are an intelligent chatbot designed for evaluating the correctness of generative outputs for question-answer "
    "pairs. Your task is to compare the predicted answer with the correct answer and determine if they match "
    "meaningfully. Here's how you can accomplish the task:------##INSTRUCTIONS: - Focus on the meaningful match "
    "between the predicted answer and the correct answer.\n- Consider synonyms or paraphrases as valid matches.\n"
    "- Evaluate the correctness of the prediction compared to the answer."
)
ASKED = (
    "Please evaluate the following video-based question-answer pair:\n\nQuestion: {question}\nCorrect Answer: {right}\n"
    "Predicted Answer: {answer}\n\nProvide your evaluation only as a yes/no and score where the score is an integer "
    "value between 0 and 5, with 5 indicating the highest meaningful match. Please generate the response in the form "
    "of a Python dictionary string with keys 'pred' and 'score', where value of 'pred' is  a string of 'yes' or 'no' "
    "and value of 'score' is in INTEGER, not STRING.DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only "
    "provide the Python dictionary string. For example, your response should look like this: {{'pred': 'yes', "
    "'score': 4.8}}."
)

RELEASES = (
    Release(("test*.parquet", "data/test*.parquet"), ("video_name", "question_id", "question", "answer", "type"), ROWS),
    Release(("test_q.json", "dataset/test_q.json"), ("video_name", "question_id", "question"), ROWS, name="authors"),
)


def read(files: Files) -> list[Item]:
    """The questions; the task is the type, a number from 0 to 8."""
    release, (path, *_) = files.release(RELEASES)
    answers: dict[str, Mapping[str, Any]] = {}
    if release.name == "authors":
        answers = {str(row["question_id"]): row for _, row in read_rows(path.with_name("test_a.json"))}

    def item(row: dict[str, Any], at: RowAt, release: Release) -> Item:
        key = str(row["question_id"])
        if release.name == "authors":
            if key not in answers:
                raise SkipSample(f"no answer with question_id {key!r} in test_a.json")
            row = {**row, **answers[key]}
        clip = str(row["video_name"])
        clip = clip if clip.startswith("v_") else f"v_{clip}"
        parts = (find_clip(at, clip, FOLDERS), f"\n{row['question'].capitalize()}?{HINT}")
        return question(NAME, key, parts, str(row["answer"]), str(row["type"]), clip, asked=row["question"])

    return files.items(RELEASES, item)


def judge_prompts(answer: str, item: Item) -> list[Messages]:
    """One question to the judge; silence is not shown to it."""
    if not answer.strip():
        return []
    told = ASKED.format(question=item.facts["asked"], right=texts(item)[0], answer=answer)
    return [({"role": "system", "content": SYSTEM}, {"role": "user", "content": told})]


def score(answer: str, item: Item, replies: Sequence[str] = ()) -> dict[str, float]:
    """Yes or no, and the score as a share of 5; what cannot be read is no, and ``unreadable`` counts it."""
    verdict = qa_verdict(replies[0]) if replies else None
    if verdict is None:
        return {"accuracy": 0.0, "score": 0.0, "unreadable": float(bool(replies))}
    rated = min(BEST, max(0, verdict.score)) / BEST
    return {
        "accuracy": float(verdict.answer == "yes"),
        "score": rated,
        "unreadable": float(verdict.answer is None),
    }


def combine(table: Table) -> Mapping[str, Values]:
    """Accuracy in percent, the judge's mean score in its own points."""
    return {
        "accuracy": 100 * table.mean("accuracy"),
        "score": BEST * table.mean("score"),
        "unreadable": 100 * table.mean("unreadable"),
    }
