"""Boxes against boxes: intersection over union, recall, points inside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm15.base.types import Box, Point
from mm15.text.regions import parse_regions

BoxLike = Box | Sequence[float]
"""A rectangle: a ``Box`` or the four numbers x1, y1, x2, y2."""
PointLike = Point | Sequence[float]
"""A place: a ``Point`` or the two numbers x, y."""


def box_iou(a: BoxLike, b: BoxLike) -> float:
    """Intersection over union of two xyxy boxes in one frame. A box without area overlaps nothing: 0."""
    ax1, ay1, ax2, ay2 = _corners(a)
    bx1, by1, bx2, by2 = _corners(b)
    overlap = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = max(0.0, ax2 - ax1) * max(0.0, ay2 - ay1) + max(0.0, bx2 - bx1) * max(0.0, by2 - by1) - overlap
    return overlap / union if union > 0 else 0.0


def grounding_accuracy(prediction: Sequence[BoxLike], references: Sequence[BoxLike], threshold: float = 0.5) -> float:
    """Acc@IoU of RefCOCO and its kin: 1 when the *first* predicted box meets a reference with IoU >= threshold.

    No predicted box is a miss. The paper writes "> 0.5"; the code in use compares with >= (lmms-eval
    ``tasks/refcoco/utils_rec.py``).
    """
    return float(bool(prediction) and any(box_iou(prediction[0], box) >= threshold for box in references))


def merged_box(boxes: Sequence[BoxLike]) -> Box:
    """The smallest box around all of them: the target of a phrase in the merged-boxes protocol of Flickr30k Entities.

    Raises:
        ValueError: no box. A phrase without a box is not asked for in that protocol: leave it out.
    """
    if not boxes:
        raise ValueError("a phrase without boxes has no merged box; leave the phrase out of the questions")
    corners = [_corners(box) for box in boxes]
    x1, y1 = (min(c[i] for c in corners) for i in (0, 1))
    x2, y2 = (max(c[i] for c in corners) for i in (2, 3))
    return Box(x1, y1, x2, y2)


def phrase_recall(
    predictions: Sequence[Sequence[BoxLike]],
    references: Sequence[Sequence[BoxLike]],
    merged: bool = True,
    threshold: float = 0.5,
) -> float:
    """Recall@1 over phrases (Flickr30k Entities, arXiv 1505.04870): the share whose first box meets the target.

    ``predictions[i]`` and ``references[i]`` are the boxes of phrase i. ``merged=True`` is the merged-boxes protocol
    (MDETR, Ferret ``eval_flickr_entities.py``): one box around all of a phrase's boxes is the target;
    ``merged=False`` is ANY-BOX: the best of them. A phrase without a prediction is a miss, one without a reference box
    is left out. With no phrase left the recall is 0.

    Raises:
        ValueError: not as many predictions as references.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} phrases; give one list of boxes each")
    hits = [
        grounding_accuracy(found, [merged_box(wanted)] if merged else wanted, threshold)
        for found, wanted in zip(predictions, references, strict=True)
        if wanted
    ]
    return sum(hits) / len(hits) if hits else 0.0


def phrase_key(phrase: str) -> str:
    """A phrase as Ferret compares the names in an answer with those asked for: case and punctuation do not matter."""
    phrase = re.sub(r"\s*(['\",.;!?|:])\s*", r"\1 ", phrase.lower())
    return " ".join(re.sub(r"[^\w\s]", "", phrase).split())


def named_boxes(answer: str, width: int, height: int) -> list[tuple[str, Box]]:
    """(name, box in pixels) of every box in an answer: ``a dog [..], a cat [..]``; the picture's size in pixels.

    As Ferret's ``eval_flickr_entities.py`` reads them: the name is all that stands before a box; after another box it
    begins behind the first of ``. , ; ! ?``. There a broken box spoils the answer; here it is only left out.
    """
    named, end = [], 0
    for found in parse_regions(answer, width, height):
        between = answer[end : found.start]
        if end:
            between = re.split(r"[.,;!?]", between, maxsplit=1)[-1]
        end = found.end
        if isinstance(found.region, Box):
            named.append((between.rpartition("]")[2].lstrip(".,;!?").strip(), found.region))
    return named


def listing_f1(
    predictions: Sequence[tuple[str, BoxLike]], references: Sequence[tuple[str, BoxLike]], threshold: float = 0.5
) -> float:
    """F1 of a list of named boxes: a name (``phrase_key``) with IoU >= threshold is right, each reference once.

    For Ferret-UI's widget listing, whose published rule is not known: this one is ours. Without references or without
    predictions it is 0.
    """
    open_ones, right = list(references), 0
    for name, box in predictions:
        fit = [
            number
            for number, (other, wanted) in enumerate(open_ones)
            if phrase_key(name) == phrase_key(other) and box_iou(box, wanted) >= threshold
        ]
        if fit:
            del open_ones[fit[0]]
            right += 1
    return 2 * right / (len(predictions) + len(references)) if predictions and references else 0.0


def centre_in_box(prediction: BoxLike | PointLike, reference: BoxLike) -> float:
    """ScreenSpot (arXiv 2401.10935): 1 when the middle of the predicted box, or the predicted point, lies in the
    reference box, its border included (lmms-eval ``tasks/screenspot/utils_rec.py``).
    """
    x, y = _middle(prediction)
    x1, y1, x2, y2 = _corners(reference)
    return float(x1 <= x <= x2 and y1 <= y <= y2)


def _middle(place: BoxLike | PointLike) -> tuple[float, float]:
    if isinstance(place, Point):
        return place.x, place.y
    if not isinstance(place, Box) and len(place) == 2:
        return place[0], place[1]
    x1, y1, x2, y2 = _corners(place)
    return (x1 + x2) / 2, (y1 + y2) / 2


def _corners(box: BoxLike) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (box.x1, box.y1, box.x2, box.y2) if isinstance(box, Box) else box
    return x1, y1, x2, y2
