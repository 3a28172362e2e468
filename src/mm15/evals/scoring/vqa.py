"""Short answers about pictures, compared with those of several people."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm15.evals.scoring.text import listed

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
RULES = ("evalai", "vqav2", "vlmevalkit")


def vqa_normalise(text: str, rule: str = "evalai") -> str:
    """An answer as the VQA evaluation (arXiv 1505.00468) compares it.

    ``rule="evalai"`` is the normaliser of the evaluation server, used by TextVQA, OK-VQA and VizWiz (mmf
    ``EvalAIAnswerProcessor``; lmms-eval ``vqa_eval_metric.py``). ``"vqav2"`` leaves out its first step (commas,
    question marks and 's go), as the original toolkit (GT-Vision-Lab/VQA ``vqaEval.py``) and lmms-eval's VQAv2 do.
    ``"vlmevalkit"`` is the latter with VLMEvalKit's repaired rule for full stops: one beside a digit stays.

    Kept quirks of the published code: every full stop not followed by a digit goes (also after a digit), but at most
    32 of them, because the flag ``re.UNICODE`` is passed where the count belongs.

    Raises:
        ValueError: another ``rule``.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, found {rule!r}")
    if rule == "evalai":
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    text = without_punctuation(text, rule)
    words = (_NUMBER_WORDS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def without_punctuation(text: str, rule: str) -> str:
    """The punctuation step of ``vqa_normalise``: a mark beside a space goes, any other becomes a space."""
    kit = rule == "vlmevalkit"
    comma_in_number = re.search(r"\d,\d" if kit else r"(?<=\d),+(?=\d)", text) is not None
    original = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        beside_space = f"{mark} " in original or f" {mark}" in original
        text = text.replace(mark, "" if beside_space or comma_in_number else " ")
    return re.sub(r"(?<!\d)\.(?!\d)" if kit else r"\.(?!\d)", "", text, count=32)


def vqa_accuracy(
    prediction: str,
    references: str | Sequence[str],
    leave_one_out: bool = True,
    rule: str = "evalai",
    normalise_if_disagree: bool = False,
) -> float:
    """VQA accuracy (arXiv 1505.00468): agreement with several annotators, after ``vqa_normalise(.., rule)``.

    For each annotator: min(1, matches among the *others* / 3); the mean over annotators. With ten annotators, n matches
    give 0, 0.3, 0.6, 0.9, 1.0. ``leave_one_out=False`` is the shortcut min(1, matches / 3) that A-OKVQA uses.
    ``normalise_if_disagree=True`` with ``rule="vqav2"`` is the original toolkit (GT-Vision-Lab/VQA ``vqaEval.py``): if
    all annotators agree to the letter, the answer must equal theirs to the letter.
    """
    answers = listed(references)
    plain = [_one_line(answer) for answer in answers]
    if normalise_if_disagree and len(set(plain)) == 1:
        matches = [answer == _one_line(prediction) for answer in plain]
    else:
        wanted = vqa_normalise(prediction, rule)
        matches = [vqa_normalise(answer, rule) == wanted for answer in answers]
    total = sum(matches)
    if not leave_one_out:
        return min(1.0, total / 3)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def few_shot_answer(text: str, rule: str = "mm1") -> str:
    """The answer in a continuation of a few-shot prompt, before the model goes on with a question of its own.

    ``rule="mm1"`` cuts at the first line break, full stop, comma or "Question" (a full stop or comma between two
    digits stays: 2.5 is one answer). ``rule="openflamingo"`` cuts at the first "Question", "Answer" or "Short", then at
    ", " (``postprocess_vqa_generation`` of its ``vqa_metric.py``). White space around is removed.

    Raises:
        ValueError: another ``rule``.
    """
    if rule == "openflamingo":
        return re.split("Question|Answer|Short", text, maxsplit=1)[0].split(", ")[0].strip()
    if rule != "mm1":
        raise ValueError(f"rule must be 'mm1' or 'openflamingo', found {rule!r}")
    return re.split(r"\n|(?<!\d)[.,]|[.,](?!\d)|Question", text.lstrip(), maxsplit=1)[0].strip()
