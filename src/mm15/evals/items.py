"""What is asked: items, their right answers, and how both read as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from mm15.base.errors import SkipSample
from mm15.base.types import (
    Box,
    Category,
    ImagePart,
    MediaRef,
    Message,
    Part,
    RegionPart,
    Role,
    Sample,
    TextPart,
    VideoPart,
    user,
)
from mm15.evals.scoring import grounding_accuracy
from mm15.images.pixels import picture_size
from mm15.io.media import read_bytes
from mm15.text.regions import parse_regions, write_box, write_region

Reference = str | Box


@dataclass(frozen=True, slots=True)
class Item:
    """One question: the sample to answer (it ends with the user's turn, or inside a document) and what is right."""

    sample: Sample
    references: tuple[Reference, ...]
    """Right answers, the best of them counts; or all that belong to the one right answer, where the metric says so."""
    task: str = ""
    """Part of the benchmark it belongs to (a sub-task, a split, a number of shots), for sub-scores."""
    group: str = ""
    """What it shares with other items (a picture, a clip): they are drawn together when errors are estimated."""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What the metric needs beside the references: options shown, type of answer, precision."""
    max_new_tokens: int = 0
    """The longest answer, where it may be longer than the benchmark's others."""

    @property
    def key(self) -> str:
        return self.sample.key

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the first picture, in which boxes are written and read."""
        image = self.sample.images[0]
        if image.width and image.height:
            return image.width, image.height
        media = image.media
        return picture_size(read_bytes(media), str(media), media.frame, dpi=media.dpi)


def question(
    benchmark: str,
    number: object,
    parts: Sequence[Part | str],
    references: Reference | Sequence[Reference],
    task: str = "",
    group: str = "",
    **facts: Any,
) -> Item:
    """An item whose prompt is one user turn.

    Args:
        benchmark: its name, for the key ``<benchmark>/<number>``.
        number: what names the question in the official file.
        parts: the turn in order; strings are text.
        references: one or several.
    """
    key = f"{benchmark}/{number}"
    listed = (references,) if isinstance(references, str | Box) else tuple(references)
    return Item(Sample(key, benchmark, Category.GENERAL, (user(*parts),)), listed, task, group, facts)


def prompt_text(sample: Sample) -> str:
    """The question as readable text: pictures as ``<image>``, clips as ``<video>``, regions as their coordinates."""
    return "\n".join("".join(_readable(part, sample) for part in message.parts) for message in sample.messages)


def _readable(part: Part, sample: Sample) -> str:
    if isinstance(part, RegionPart):
        image = sample.images[part.region.image]
        return write_region(part.region, image.width, image.height)
    if isinstance(part, TextPart):
        return part.text
    return "<video>" if isinstance(part, VideoPart) else "<image>"


# ---- right answers of rows that a dataset format reads ----


def answer_text(sample: Sample) -> tuple[str, ...]:
    """The text of the final turn."""
    return (sample.messages[-1].text.strip(),)


def answer_boxes(sample: Sample) -> tuple[Box, ...]:
    """The boxes of the final turn, in pixels.

    Raises:
        SkipSample: the turn has none.
    """
    regions = [part.region for part in sample.messages[-1].parts if isinstance(part, RegionPart)]
    boxes = tuple(region for region in regions if isinstance(region, Box))
    if not boxes:
        raise SkipSample("the right answer holds no box")
    return boxes


def single_questions(sample: Sample) -> list[Sample]:
    """One sample for every answer of a conversation, each ending with it.

    Earlier turns lend their pictures, clips and the system's words but not their text, so that no right answer is ever
    shown.
    """
    answers = [n for n, message in enumerate(sample.messages) if message.role is Role.ASSISTANT]
    alone = []
    for number, place in enumerate(answers):
        earlier = sample.messages[: place - 1]
        system = tuple(message for message in earlier if message.role is Role.SYSTEM)
        lent = tuple(part for message in earlier for part in message.parts if isinstance(part, ImagePart | VideoPart))
        asked = Message(Role.USER, lent + sample.messages[place - 1].parts)
        key = sample.key if len(answers) == 1 else f"{sample.key}.{number}"
        messages = (*system, asked, sample.messages[place])
        alone.append(Sample(key, sample.source, sample.category, messages, sample.meta))
    return alone


# ---- what most benchmarks share ----


def texts(item: Item) -> list[str]:
    """The references that are text."""
    return [reference for reference in item.references if isinstance(reference, str)]


def boxes(item: Item) -> list[Box]:
    """The references that are boxes."""
    return [reference for reference in item.references if isinstance(reference, Box)]


def found_boxes(answer: str, item: Item) -> list[Box]:
    """The boxes written in an answer, in pixels of the first picture."""
    regions = [found.region for found in parse_regions(answer, *item.size)]
    return [region for region in regions if isinstance(region, Box)]


def score_boxes(answer: str, item: Item) -> dict[str, float]:
    """Acc@IoU0.5 of the first box in the answer; no readable box is a miss, and ``unparseable`` counts those."""
    found = found_boxes(answer, item)
    return {"acc_iou50": grounding_accuracy(found, boxes(item)), "unparseable": float(not found)}


def written(reference: Reference, item: Item) -> str:
    """A reference as the answer a perfect model would give."""
    return write_box(reference, *item.size) if isinstance(reference, Box) else reference


def common_answers(items: Sequence[Item], most: int = 100) -> list[str]:
    """The most frequent right answers: candidates for the best answer that looks at no picture."""
    counts = Counter(written(reference, item) for item in items for reference in item.references)
    return [answer for answer, _ in counts.most_common(most)]


def common_boxes(items: Sequence[Item], most: int = 100) -> list[str]:
    """As ``common_answers`` for grounding: also the mean and median of right boxes, the whole picture, centred boxes.

    All on the 0-999 scale, as the model would write them.
    """
    found = [
        parse_regions(written(reference, item), *item.size)[0].norm for item in items for reference in item.references
    ]
    guesses = [np.mean(found, axis=0), np.median(found, axis=0)]
    guesses += [np.array([500 - half, 500 - half, 500 + half, 500 + half]) for half in (150, 250, 350, 499)]
    written_out = [f"[{', '.join(str(int(value)) for value in guess)}]" for guess in guesses]
    return written_out + common_answers(items, most)


def check_item(reference: Reference | Sequence[Reference], **facts: Any) -> Item:
    """An item with this right answer, for the lines of ``CHECKS``; its picture is 800 x 600 px and never read."""
    picture = ImagePart(MediaRef(path="check.png"), 800, 600)
    return question("check", 0, (picture, "\nQuestion?"), reference, **facts)
