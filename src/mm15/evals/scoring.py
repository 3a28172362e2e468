"""Metrics: pure functions ``f(prediction, references) -> float`` in 0..1, each with the definition it follows.

``references`` is one string or several; the best of them counts unless a metric says otherwise. Where a published
definition has a known quirk that published numbers depend on, the quirk is kept and named. Nothing here is random: an
answer that cannot be parsed is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm15.base.types import Box

BoxLike = Box | Sequence[float]
"""A rectangle: a ``Box`` or the four numbers x1, y1, x2, y2."""


def normalise(text: str) -> str:
    """Case, spacing and one final full stop do not matter in a short answer."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def exact_match(prediction: str, references: str | Sequence[str]) -> float:
    """1 when the prediction equals a reference after ``normalise``."""
    return float(normalise(prediction) in {normalise(reference) for reference in _listed(references)})


def contains(prediction: str, references: str | Sequence[str]) -> float:
    """OCRBench (arXiv 2305.07895): 1 when a reference is a substring of the prediction, case and line breaks aside."""
    text = prediction.lower().strip().replace("\n", " ")
    return float(any(reference.lower().strip().replace("\n", " ") in text for reference in _listed(references)))


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions that turn ``a`` into ``b``.

    Bit-parallel in Python's long integers (Myers 1999, in the form of Hyyrö 2003), so that whole pages stay affordable:
    bit i of ``rises`` / ``falls`` says that the table grows / shrinks by one between rows i and i + 1 of this column.
    """
    if not a:
        return len(b)
    places: dict[str, int] = {}
    for index, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << index
    mask = (1 << len(a)) - 1
    last = 1 << (len(a) - 1)
    rises, falls, distance = mask, 0, len(a)
    for character in b:
        equal = places.get(character, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        grows = falls | (~(diagonal | rises) & mask)
        shrinks = rises & diagonal
        distance += bool(grows & last) - bool(shrinks & last)
        grows = (grows << 1 | 1) & mask
        falls_now = grows & diagonal
        rises = (shrinks << 1 | ~(diagonal | grows)) & mask
        falls = falls_now
    return distance


def char_accuracy(prediction: str, references: str | Sequence[str]) -> float:
    """1 - edit distance / length of the longer text, after joining runs of white space; case counts."""
    text = " ".join(prediction.split())
    scores = []
    for reference in _listed(references):
        wanted = " ".join(reference.split())
        longest = max(len(text), len(wanted))
        scores.append(1 - edit_distance(text, wanted) / longest if longest else 1.0)
    return max(scores)


def anls(prediction: str, references: str | Sequence[str], boundary: str = "keep") -> float:
    """Average normalised Levenshtein similarity of one question (DocVQA; Biten et al., arXiv 1907.00490).

    Both sides are lower-cased with single spaces; the distance is divided by the longer *raw* length, upper-cased (ß
    counts two), as the public harnesses do. Below one half the score is 0. At exactly one half ``boundary="keep"``
    keeps it (lmms-eval, VLMEvalKit) and ``boundary="strict"`` gives 0 (the original definition).

    Raises:
        ValueError: another ``boundary``.
    """
    if boundary not in ("keep", "strict"):
        raise ValueError(f"boundary must be 'keep' or 'strict', found {boundary!r}")
    text = " ".join(prediction.strip().lower().split())
    distances = []
    for reference in _listed(references):
        wanted = " ".join(reference.strip().lower().split())
        longest = max(len(reference.upper()), len(prediction.upper()))
        distances.append(edit_distance(text, wanted) / longest if longest else 0.0)
    similarity = 1 - min(distances)
    return similarity if similarity > 0.5 or (similarity == 0.5 and boundary == "keep") else 0.0


def relaxed_accuracy(prediction: str, references: str | Sequence[str], tolerance: float = 0.05) -> float:
    """Relaxed accuracy of ChartQA (arXiv 2203.10244, after PlotQA), as in the pix2struct code.

    Numbers may be off by ``tolerance`` of the reference; anything else must be equal, case aside. A final ``%``
    divides by 100. Kept quirks: a reference of zero is compared as text, "1,000" is no number, and years are numbers.
    """
    return float(any(_relaxed(prediction, reference, tolerance) for reference in _listed(references)))


def _relaxed(prediction: str, reference: str, tolerance: float) -> bool:
    found, wanted = _number(prediction), _number(reference)
    if found is not None and wanted:
        return abs(found - wanted) / abs(wanted) <= tolerance
    return prediction.lower() == reference.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


_ZERO_TO_TEN = "zero one two three four five six seven eight nine ten"
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_ZERO_TO_TEN.split())} | {"none": "0"}
_FULL_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    form[:index] + form[index + 1 :]: form
    for form in _FULL_FORMS.split()
    for index, character in enumerate(form)
    if character == "'"
} | {"somebody'd": "somebodyd"}  # the published table has this one the wrong way round


def vqa_normalise(text: str) -> str:
    """The answer normaliser of the VQA evaluation server (EvalAI), used by VQAv2, TextVQA, OK-VQA and VizWiz.

    Kept quirks of the published code: every full stop not followed by a digit goes (also after a digit), but at most
    32 of them, because the flag ``re.UNICODE`` is passed where the count belongs.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    original = text = text.replace("\n", " ").replace("\t", " ").strip()
    for mark in ';/[]"{}()=+\\_-><@`!':
        beside_space = f"{mark} " in original or f" {mark}" in original
        text = text.replace(mark, "" if beside_space else " ")
    text = re.sub(r"\.(?!\d)", "", text, count=32)
    words = (_NUMBER_WORDS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa_accuracy(prediction: str, references: str | Sequence[str], leave_one_out: bool = True) -> float:
    """VQA accuracy (arXiv 1505.00468): agreement with several annotators, after ``vqa_normalise``.

    For each annotator: min(1, matches among the *others* / 3); the mean over annotators. With ten annotators, n matches
    give 0, 0.3, 0.6, 0.9, 1.0. ``leave_one_out=False`` is the shortcut min(1, matches / 3) that A-OKVQA uses.
    """
    answer = vqa_normalise(prediction)
    matches = [vqa_normalise(reference) == answer for reference in _listed(references)]
    total = sum(matches)
    if not leave_one_out:
        return min(1.0, total / 3)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


_LETTER_FORMS = (
    re.compile(r"\s*\(?\s*([A-Za-z])\s*[).:]?\s*\.?\s*$"),  # the whole answer: B, (b), B., B)
    re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Z])[).:,])(?=\s|$)"),  # it begins with the letter: (B) red, B. red
    re.compile(r".*\b(?:answer|option|choice)(?:\s+is)?\s*:?\s*\(?([A-Z])\b(?!')", re.IGNORECASE | re.DOTALL),
)


def choice_letter(text: str) -> str | None:
    """The option letter an answer names, or None. In this order: the whole answer is the letter; it begins with
    "(B)" or "B." and the like; it says "answer (is) B". A sentence that merely begins with "A" names nothing.
    """
    for form in _LETTER_FORMS:
        found = form.match(text)
        if found:
            return next(group for group in found.groups() if group).upper()
    return None


def multiple_choice(prediction: str, references: str | Sequence[str]) -> float:
    """1 when ``choice_letter`` of the prediction is that of a reference; no letter is wrong, never a guess."""
    letter = choice_letter(prediction)
    return float(letter is not None and letter in {choice_letter(reference) for reference in _listed(references)})


def yes_or_no(text: str) -> str | None:
    """ "yes" or "no" when exactly one of the two words occurs, else None (the rule VLMEvalKit applies to POPE)."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = words & {"yes", "no"}
    return found.pop() if len(found) == 1 else None


def yes_no(prediction: str, references: str | Sequence[str]) -> float:
    """1 when ``yes_or_no`` of the prediction is that of a reference; an answer with neither or both is wrong."""
    answer = yes_or_no(prediction)
    return float(answer is not None and answer in {yes_or_no(reference) for reference in _listed(references)})


def box_iou(a: BoxLike, b: BoxLike) -> float:
    """Intersection over union of two xyxy boxes in one frame. A box without area overlaps nothing: 0."""
    ax1, ay1, ax2, ay2 = _corners(a)
    bx1, by1, bx2, by2 = _corners(b)
    overlap = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = max(0.0, ax2 - ax1) * max(0.0, ay2 - ay1) + max(0.0, bx2 - bx1) * max(0.0, by2 - by1) - overlap
    return overlap / union if union > 0 else 0.0


def grounding_accuracy(prediction: Sequence[BoxLike], references: Sequence[BoxLike], threshold: float = 0.5) -> float:
    """Acc@IoU of RefCOCO and its kin: 1 when the *first* predicted box meets a reference with IoU >= threshold.

    No predicted box is a miss. The paper writes "> 0.5"; the code in use compares with >=.
    """
    return float(bool(prediction) and any(box_iou(prediction[0], box) >= threshold for box in references))


def _corners(box: BoxLike) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (box.x1, box.y1, box.x2, box.y2) if isinstance(box, Box) else box
    return x1, y1, x2, y2


def _listed(references: str | Sequence[str]) -> list[str]:
    listed = [references] if isinstance(references, str) else list(references)
    if not listed:
        raise ValueError("a score needs at least one reference answer, found none")
    return listed
