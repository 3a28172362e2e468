"""Our outputs for the pairs of ``make_pairs.py``, in the form in which ``oracle.py`` writes the references'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mm15.evals import scoring as s


def _scored(metric: Callable[..., float], **options: Any) -> Callable[[dict[str, Any]], float]:
    return lambda item: metric(item["p"], item["r"], **options)


def _choice(item: dict[str, Any], strategy: str) -> str:
    return s.extract_choice(item["p"], item["c"], strategy) or ""


def _counts(item: list[list[str]]) -> list[float]:
    counts = s.count_binary(*zip(*item, strict=True))
    ratios = (s.binary_accuracy, s.binary_precision, s.binary_recall, s.binary_f1_of, s.yes_ratio)
    return [ratio(counts) for ratio in ratios]


def _mathvista(item: dict[str, Any]) -> list[Any]:
    options = {"question_type": item["question_type"], "answer_type": item["answer_type"], "choices": item["c"]}
    found = s.mathvista_extract(item["p"], **options)
    if not found.direct:
        return ["asks a judge", 0.0]
    normal = s.mathvista_normalise(found.text, **options, precision=item["precision"])
    return [normal, s.mathvista(item["p"], item["r"], **options, precision=item["precision"])]


def _merged(item: dict[str, Any]) -> float:
    return s.phrase_recall([[item["p"]]], [item["r"]])


def _verdict(item: str) -> list[Any] | None:
    verdict = s.qa_verdict(item)
    return None if verdict is None else [verdict.answer, verdict.score]


OURS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("anls_lmms", "anls_kit"), _scored(s.anls)),
    "relaxed_accuracy": _scored(s.relaxed_accuracy),
    "vqa_evalai": _scored(s.vqa_accuracy),
    "vqa_vqav2": _scored(s.vqa_accuracy, rule="vqav2"),
    "vqa_kit": _scored(s.vqa_accuracy, rule="vlmevalkit"),
    "vqa_toolkit": _scored(s.vqa_accuracy, rule="vqav2", normalise_if_disagree=True),
    "few_shot_openflamingo": lambda i: s.few_shot_answer(i["p"], "openflamingo"),
    **{f"choice_{strategy}": partial(_choice, strategy=strategy) for strategy in s.STRATEGIES},
    "pope_official": lambda i: s.pope_answer(i["p"]),
    "pope_exact": _scored(s.pope, rule="exact"),
    "pope_kit": lambda i: s.pope_answer(i["p"], "vlmevalkit") or "",
    "mme": lambda i: s.mme_answer(i["p"]) or "",
    "binary_counts": _counts,
    "mme_subtask": lambda i: s.mme_subtask({str(n): pair for n, pair in enumerate(i)}),
    "ocrbench_lmms": _scored(s.ocrbench, fold_full_width=True),
    "ocrbench_hme": _scored(s.ocrbench, handwritten_math=True),
    "ocrbench_kit": _scored(s.ocrbench),
    "mmmu_open": _scored(s.mmmu_open),
    "mathvista": _mathvista,
    "box_iou": lambda i: s.box_iou(*i),
    "grounding_accuracy": lambda i: s.grounding_accuracy([i[0]], [i[1]]),
    "centre_in_box": lambda i: s.centre_in_box(*i),
    "flickr_merged": _merged,
    "phrase_key": lambda i: float(s.phrase_key(i[0]) == s.phrase_key(i[1])),
    "lvis_ferret": lambda i: s.lvis_ref(i["p"], s.lvis_names(i["name"], i["synonyms"])),
    "wtq": _scored(s.wtq),
    "tabfact": _scored(s.tabfact),
    "token_f1": _scored(s.token_f1),
    "two_scores": s.two_scores,
    "qa_verdict": _verdict,
    "vcg_score": lambda i: s.vcg_score(i) or 0,
    "mm_vet": lambda i: s.mm_vet_score(i) or 0.0,
    "vl_icl": lambda i: s.vl_icl(i["p"], i["r"], i["task"]),
    "ptb_tokens": lambda i: " ".join(s.ptb_tokens(i)),
}


def outputs(name: str, items: list[Any]) -> list[Any]:
    """One output per pair."""
    if name == "cider":
        result = s.cider([item["p"] for item in items], [item["r"] for item in items])
        return [
            [" ".join(s.ptb_tokens(item["p"])), [" ".join(s.ptb_tokens(text)) for text in item["r"]], score]
            for item, score in zip(items, result.per_item, strict=True)
        ]
    return [OURS[name](item) for item in items]


def same(ours: Any, theirs: Any) -> bool:
    """Equal; numbers to 1e-9."""
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        return abs(ours - theirs) < 1e-9
    return ours == theirs
