"""The Cauldron (HuggingFaceM4/the_cauldron): fifty data sets in one layout, a parquet folder each.

``images`` is a list of ``{bytes, path}``, ``texts`` a list of ``{user, assistant, source}``. There are no placeholders:
all pictures come first in the first question, and all pairs are turns of one conversation. The questions already say
how to answer; nothing is added.

Example rows:
{"images": [{"bytes": null, "path": "a.png"}], "texts": [
  {"user": "What animal is this?\\nAnswer briefly.", "assistant": "A cat.", "source": "VQAv2"}]}
{"images": ["a.png", "b.png"], "texts": [
  {"user": "Is it true that both show a dog?", "assistant": "No.", "source": "NLVR2"},
  {"user": "And a cat?", "assistant": "Yes.", "source": "NLVR2"}]}
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Category, Message, Sample, assistant, user
from mm15.datasets._context import RowContext


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One conversation per row. ``meta["source"]`` lists the sources of its pairs.

    Raises:
        SkipSample: no pairs, an empty question or answer, or no pictures (allowed in category ``text_only``).
    """
    values, texts = row.get("images"), row.get("texts")
    if not isinstance(values, list) or not isinstance(texts, list) or not texts:
        raise SkipSample("'images' must be a list and 'texts' a list with at least one pair")
    if not values and context.category is not Category.TEXT_ONLY:
        raise SkipSample("no pictures; rows of text alone belong to a source of category text_only")
    images = [context.image(value) for value in values]
    messages: list[Message] = []
    sources: list[object] = []
    for number, pair in enumerate(texts):
        question, answer = (pair.get("user"), pair.get("assistant")) if isinstance(pair, dict) else (None, None)
        if not isinstance(question, str) or not isinstance(answer, str):
            raise SkipSample(f"pair {number} needs the texts 'user' and 'assistant'")
        for said, speaker in ((question, "user"), (answer, "assistant")):
            if not said.strip():
                raise SkipSample(f"pair {number}: the {speaker} says nothing")
        messages += [user(*([] if number else images), question), assistant(answer)]
        if pair.get("source") is not None and pair["source"] not in sources:
            sources.append(pair["source"])
    return [context.sample({**row, "source": sources}, messages, {"images", "texts"})]
