"""Documents of text and pictures in the layout of OBELICS, with local file names in place of web addresses.

``images`` and ``texts`` are lists of one length; at every position exactly one of the two is not null. The pieces
become one document in this order, all text trained; two neighbouring texts are paragraphs, a blank line apart.
``width`` and ``height`` are lists with one entry per picture (nulls between them are passed over).

Example rows:
{"images": [null, "a.jpg", null], "texts": ["Intro.", null, "More."]}
{"images": ["a.jpg", "b.jpg", null], "texts": [null, null, "Two pictures."], "width": [90, 60, null],
 "height": [60, 90, null]}
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Part, Sample, TextPart, document
from mm15.datasets._context import RowContext, pictures, says_something

USED = {"images", "texts", "width", "height"}


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One document per row.

    Raises:
        SkipSample: the row cannot be used as it is.
    """
    images, texts = row.get("images"), row.get("texts")
    if not isinstance(images, list) or not isinstance(texts, list) or len(images) != len(texts):
        raise SkipSample("'images' and 'texts' must be two lists of one length")
    for position, (image, text) in enumerate(zip(images, texts, strict=True)):
        if (image is None) == (text is None):
            raise SkipSample(f"position {position}: exactly one of 'images' and 'texts' must be null")
        if text is not None and not isinstance(text, str):
            raise SkipSample(f"position {position}: the text is a {type(text).__name__}")
    named = [image for image in images if image is not None]
    following = iter(pictures({**row, "images": named}, context, field="images"))
    parts: list[Part] = []
    for text in texts:
        if text is None:
            parts.append(next(following))
        elif parts and isinstance(parts[-1], TextPart):
            parts[-1] = TextPart(f"{parts[-1].text}\n\n{text}")
        else:
            parts.append(TextPart(text))
    if not says_something(parts):
        raise SkipSample("a document without text")
    return [context.sample(row, [document(*parts)], USED)]
