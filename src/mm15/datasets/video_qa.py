"""Questions about clips: VideoChat2-IT, ActivityNet-QA, NExT-QA and IntentQA.

``options.mode`` says what ``path`` is:

    videochat2   JSON ``[{"video": "x.mp4", "QA": [{"i": instruction, "q": question, "a": answer}], "start", "end"}]``;
                 rows with ``image`` in place of ``video`` are about pictures
    anet-qa      ``train_q.json`` ``[{"video_name", "question", "question_id"}]``, with ``train_a.json``
                 ``[{"answer", "type", "question_id"}]`` beside it, joined by ``question_id``
    nextqa-csv   ``video`` (IntentQA: ``video_id``), ``question``, ``answer`` and the options ``a0`` ... ``a4``, of
                 which ``answer`` is the number; without options an open question with a text ``answer``

A clip is a file below ``root``/``options.videos``, with any of ``options.endings``, or a folder of numbered frames. It
stands before its first question and becomes ``options.frames`` pictures.

Example rows:
{"video": "cooking/0001.mp4", "QA": [{"i": "Answer briefly.", "q": "What is cut?", "a": "An onion."},
  {"i": "", "q": "And then?", "a": "A carrot."}], "start": 2.5, "end": 10}
{"video": "4010069381.mp4", "question": "why does the baby smile", "options": ["toy", "dog", "food", "dad", "song"],
 "answer": 3, "qid": "6"}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import ImagePart, Message, Part, Sample, VideoPart, assistant, user
from mm15.datasets._clips import clip
from mm15.datasets._context import RowContext
from mm15.datasets._joined import ADDRESS, DEFECT, JoinedRows, read_csv, read_json, records
from mm15.datasets._prompts import SHORT, options_text
from mm15.datasets._regions import options_of
from mm15.io.rows import Rows
from mm15.io.rows import open_rows as open_plain

USED = {"video", "image", "QA", "question", "options", "answer", "start", "end"}


class Options(Strict):
    """What a recipe may set under ``options:``."""

    mode: Literal["videochat2", "anet-qa", "nextqa-csv"] = "videochat2"
    videos: str = ""
    """Folder in front of the clips' names, below ``root``."""
    prefix: str | None = None
    """In front of every clip's name; by default "v_" for ActivityNet-QA, whose files are called so, else nothing."""
    endings: tuple[str, ...] = Field(default=("mp4", "mkv", "webm", "avi", "mov"), min_length=1)
    answers: str = ""
    """ActivityNet-QA: the file of answers beside ``path``; by default its name with ``_a`` for ``_q``."""
    video_map: str = ""
    """NExT-QA: ``map_vid_vidorID.json`` beside ``path``, from clip number to folder and file."""
    frames: int = Field(default=24, ge=1)
    """Pictures that a clip becomes (MM1.5-Video: 24)."""
    short: bool = True
    """Open questions carry the hint that one word or phrase is wanted."""


def open_rows(path: Path, options: Options) -> Rows:
    """Rows of the file.

    Raises:
        ConfigError: a file or a column is missing, or a file is not of this shape.
    """
    if options.mode == "videochat2":
        return open_plain(path)
    if options.mode == "anet-qa":
        return JoinedRows(path, options, _anet_rows, (path, _answers(path, options)))
    mapped = [path.parent / options.video_map] if options.video_map else []
    return JoinedRows(path, options, _nextqa_rows, (path, *mapped))


def _answers(path: Path, options: Any) -> Path:
    return path.with_name(options.answers or f"{path.stem.removesuffix('_q')}_a{path.suffix}")


def _anet_rows(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    file = _answers(path, options)
    answers: dict[Any, list[dict[str, Any]]] = {}
    for answer in records(read_json(file), str(file)):
        answers.setdefault(answer.get("question_id"), []).append(answer)
    prefix = "v_" if options.prefix is None else options.prefix
    for number, question in enumerate(records(read_json(path), str(path))):
        key = question.get("question_id")
        row: dict[str, Any] = {ADDRESS: f"[{number}]", "question_id": key, "question": question.get("question")}
        found = answers.get(key, [])
        if key is None or len(found) != 1:
            row[DEFECT] = f"{len(found)} answers with question_id {key!r} in {file.name}, expected one"
        else:
            row |= {"video": f"{prefix}{question.get('video_name')}", "answer": found[0].get("answer")}
            row["type"] = found[0].get("type")
        yield row


def _nextqa_rows(path: Path, options: Any) -> Iterator[dict[str, Any]]:
    mapped: dict[str, Any] = read_json(path.parent / options.video_map) if options.video_map else {}
    for line, row in read_csv(path, ("question", "answer")):
        name = row.get("video") or row.get("video_id") or ""
        joined: dict[str, Any] = {ADDRESS: str(line), "question": row["question"], "answer": row["answer"]}
        joined |= {field: row[field] for field in ("qid", "type") if field in row}
        if options.video_map and name not in mapped:
            joined[DEFECT] = f"clip {name!r} is not in {options.video_map}"
        joined["video"] = f"{options.prefix or ''}{mapped.get(name, name)}"
        choices = [row[f"a{k}"] for k in range(5) if f"a{k}" in row]
        if choices:
            joined["options"] = choices
            joined["answer"] = int(row["answer"]) if row["answer"].strip().isdecimal() else row["answer"]
        yield joined


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One sample per row.

    Raises:
        SkipSample: the row cannot be used as it is, or there is no such clip.
    """
    options = options_of(context, Options)
    if "QA" in row:
        turns = _conversation(row["QA"])
    elif "options" in row:
        turns = [_choice(row)]
    else:
        question, answer = _text(row.get("question"), "question"), _text(row.get("answer"), "answer")
        turns = [(f"{question}\n{SHORT}" if options.short else question, answer)]
    media = _media(row, context, options)
    messages: list[Message] = []
    for question, answer in turns:
        front: list[Part | str] = [] if messages else [*media, "\n" + question]
        messages += [user(*(front or [question])), assistant(answer)]
    return [context.sample(row, messages, USED)]


def _media(row: dict[str, Any], context: RowContext, options: Options) -> list[ImagePart | VideoPart]:
    if "image" in row and "video" not in row:
        images = row["image"] if isinstance(row["image"], list) else [row["image"]]
        if not images:
            raise SkipSample("'image' is an empty list")
        return [context.image(image) for image in images]
    name = row.get("video")
    if isinstance(name, str) and name and options.videos:
        name = f"{options.videos.rstrip('/')}/{name}"
    return [clip(context, name, options.frames, options.endings, row.get("start"), row.get("end"))]


def _conversation(items: object) -> list[tuple[str, str]]:
    """Question and answer per item; an instruction stands before the question where it is a new one."""
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise SkipSample("'QA' must be a list with at least one {i, q, a}")
    turns: list[tuple[str, str]] = []
    said = ""
    for number, item in enumerate(items):
        instruction, question = (str(item.get(name) or "").strip() for name in ("i", "q"))
        asked = [text for text in (instruction if instruction != said else "", question) if text]
        said = instruction or said
        if not asked:
            raise SkipSample(f"item {number} of 'QA' asks nothing")
        turns.append(("\n".join(asked), _text(item.get("a"), f"a of item {number}")))
    return turns


def _choice(row: dict[str, Any]) -> tuple[str, str]:
    choices, answer = row["options"], row.get("answer")
    if not isinstance(choices, list) or len(choices) < 2:
        raise SkipSample(f"'options' must list at least two answers, found {choices!r}")
    texts = [_text(choice, f"option {number}") for number, choice in enumerate(choices)]
    if type(answer) is not int or not 0 <= answer < len(texts):
        raise SkipSample(f"'answer' must be the number of an option, 0 to {len(texts) - 1}, found {answer!r}")
    return f"{_text(row.get('question'), 'question')}\n{options_text(texts)}", chr(ord("A") + answer)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SkipSample(f"'{what}' must be a text, found {value!r}")
    return value.strip()
