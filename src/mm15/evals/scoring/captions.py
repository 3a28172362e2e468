"""CIDEr-D of captions, with the Penn Treebank tokens of the COCO caption evaluation, without Java."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_DROPPED = {"'", "`", "``", "''", '"', "“", "”", "…", "–", "—", *".?!,:;-"}
_L, _X, _Q = r"[^\W\d_]", r"[^\W_]", "['’]"  # a letter, a letter or digit, an apostrophe
_SHORT = (
    r"(?:mrs?|ms|dr|st|ave|[js]r|prof|gen|inc|co|corp|ltd|ph\.d|vs|etc|mt|rd|blvd|jan|feb|apr|aug|sept|oct|nov|dec)"
)
_TOKEN = re.compile(
    rf"""</?[a-z!?][^<>]*>
    | https?://[^\s<>"|]*[^\s<>"|.,!?();:'’-] | [\w.+-]*\w@(?:\w+\.)+{_L}+ | [@\#]{_L}\w* | [:;=8]-?[()dp](?!{_X})
    | \d{{1,2}}[-/]\d{{1,2}}[-/]\d{{2,4}} | (?:\d{{1,4}}[- \xa0])?\d{{1,4}}\\?/\d{{1,4}}(?!\d)
    | (?:(?:{_SHORT}|no(?=\.\s*\d))\.|(?:[a-z]\.)+)(?!{_X})
    | can(?=not\b) | gon(?=na\b) | wan(?=na\b) | got(?=ta\b) | lem(?=me\b) | gim(?=me\b) | {_Q}t(?=is\b|was\b)
    | {_L}+(?=n{_Q}t(?!{_X})) | n{_Q}t(?!{_X}) | {_Q}(?:[smd]|re|ve|ll)(?!{_X})
    | {_Q}n(?:{_Q}|(?!{_X})) | {_Q}(?:[2-9]0s|em|cause|till?)(?!{_X})
    | c{_Q}mon | ma{_Q}am | [dlo]{_Q}{_L}{_X}* | y{_Q}(?=all)
    | {_X}+(?:[-_]{_X}+)+ | {_L}{_X}*(?:[.!?]{_L}{_X}*)+ | {_X}+(?:/{_X}+)+ | {_X}+&{_X}+
    | [-+]?\d+(?:[.:,]\d+)*{_X}* | [-+]?(?:[.:,]\d+)+ | {_X}+
    | [?!]{{2,}} | \.\.+ | --+ | \S""",
    re.VERBOSE | re.IGNORECASE,
)
_ESCAPES = str.maketrans(
    {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
    | {"£": "#", "€": "$", "¢": "cents", "½": "1/2", "¼": "1/4", "’": "'", "‘": "'"}
)


def ptb_tokens(caption: str) -> list[str]:
    """Tokens of a caption as the COCO caption evaluation sees them: Stanford's PTBTokenizer (CoreNLP 3.4.1) with
    ``-preserveLines -lowerCase``, then without the punctuation that pycocoevalcap's ``ptbtokenizer.py`` drops.

    Kept quirk: brackets stay, as -lrb- and -rrb-, because they are looked for in capitals after lower-casing. Ordinary
    captions give the Java program's tokens; words glued together without a space ("isn'tx@y.org") may not.
    """
    text = re.sub("&(?:amp|lt|gt|quot);", lambda found: html.unescape(found.group()), caption)
    tokens = (token.lower() for token in _TOKEN.findall(text))
    kept = (token for token in tokens if token not in _DROPPED and not re.fullmatch(r"\.\.+|--+", token))
    return [word for token in kept for word in token.translate(_ESCAPES).split() if word not in _DROPPED]


@dataclass(frozen=True, slots=True)
class CiderResult:
    """``score``: the mean of ``per_item`` (10 is the ceiling; published numbers are 100 times this, so 0 to 1000)."""

    score: float
    per_item: tuple[float, ...]


def cider(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tokenise: bool = True, sigma: float = 6.0
) -> CiderResult:
    """CIDEr-D (arXiv 1411.5726) over a data set: one caption and its reference captions per picture.

    TF-IDF of 1- to 4-grams, document frequencies from the references of *these* pictures; counts clipped to the
    reference's; a Gaussian of ``sigma`` on the difference in length; mean over n and over references, times 10. As in
    pycocoevalcap ``cider_scorer.py``. It depends on the whole set: never average it over parts, and one picture alone
    gives 0. ``per_item`` holds the pictures' values, for intervals. ``tokenise=False`` takes texts that are tokens
    joined by spaces.

    Raises:
        ValueError: no picture, not as many predictions as references, or a picture without references.
    """
    if not predictions or len(predictions) != len(references) or not all(references):
        empty = sum(not captions for captions in references)
        raise ValueError(
            f"CIDEr needs one prediction and at least one reference per picture; found {len(predictions)} predictions, "
            f"{len(references)} lists of references, {empty} of them empty"
        )

    def counts(caption: str) -> list[Counter[tuple[str, ...]]]:
        words = ptb_tokens(caption) if tokenise else caption.split()
        return [Counter(zip(*(words[k:] for k in range(n)), strict=False)) for n in (1, 2, 3, 4)]

    wanted = [[counts(caption) for caption in captions] for captions in references]
    documents: Counter[tuple[str, ...]] = Counter()
    for captions in wanted:
        documents.update({gram for grams in captions for one in grams for gram in one})
    log_pictures = math.log(len(predictions))

    def weigh(grams: list[Counter[tuple[str, ...]]]) -> list[dict[tuple[str, ...], float]]:
        return [{gram: n * (log_pictures - math.log(max(1, documents[gram]))) for gram, n in c.items()} for c in grams]

    scores = []
    for prediction, captions in zip(predictions, wanted, strict=True):
        found = counts(prediction)
        weights, length = weigh(found), found[1].total()
        score = 0.0
        for grams in captions:
            penalty = math.exp(-((length - grams[1].total()) ** 2) / (2 * sigma**2))
            for ours, theirs in zip(weights, weigh(grams), strict=True):
                norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
                shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs)
                score += penalty * shared / norms / 4 if norms else 0.0
        scores.append(10 * score / len(captions))
    return CiderResult(sum(scores) / len(scores), tuple(scores))


def few_shot_caption(text: str, rule: str = "mm1") -> str:
    """The caption in a continuation of a few-shot prompt, before the model goes on with a picture of its own.

    ``rule="mm1"`` is the first line that says something (arXiv 2403.09611). ``rule="openflamingo"`` cuts at the first
    "Output", the word before its captions, and drops double quotes (``postprocess_captioning_generation`` of its
    ``coco_metric.py``, and ``evaluate.py``). White space around is removed.

    Raises:
        ValueError: another ``rule``.
    """
    if rule == "openflamingo":
        return text.split("Output", 1)[0].replace('"', "").strip()
    if rule != "mm1":
        raise ValueError(f"rule must be 'mm1' or 'openflamingo', found {rule!r}")
    return text.lstrip().split("\n", 1)[0].strip()
