"""Pairs of answers and references for every metric: realistic, near misses, adversarial, unicode, empty. Seeded.

``pairs(name)`` is a list of JSON values; ``ours.py`` and ``oracle.py`` each map one such value to an output. The
project and the oracles' own environment both run it, beside its kin, so it imports only them and the standard library.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import make_captions
import pairs_answers as a
import pairs_others as o

N = 5400

MAKERS: dict[str, Callable[[random.Random], Any]] = {
    **dict.fromkeys(("anls_lmms", "anls_kit"), a.anls),
    "relaxed_accuracy": a.relaxed,
    **dict.fromkeys(("vqa_evalai", "vqa_vqav2", "vqa_kit", "vqa_toolkit"), a.vqa),
    "few_shot_openflamingo": a.few_shot,
    **dict.fromkeys(
        (
            *("choice_paren_prefix", "choice_blink", "choice_mmmu"),
            *("choice_priority", "choice_mantis", "choice_can_infer"),
        ),
        a.choice,
    ),
    **dict.fromkeys(("choice_first_char", "choice_letter_dot", "choice_scienceqa"), a.short_choice),
    **dict.fromkeys(("pope_official", "pope_kit", "mme"), a.yes_no),
    "pope_exact": a.terse_yes_no,
    "binary_counts": a.counts,
    "mme_subtask": a.mme_set,
    **dict.fromkeys(("ocrbench_lmms", "ocrbench_hme", "ocrbench_kit"), a.ocr),
    "mmmu_open": o.open,
    "mathvista": o.mathvista,
    **dict.fromkeys(("box_iou", "grounding_accuracy", "centre_in_box"), o.boxes),
    "flickr_merged": o.merged,
    "phrase_key": o.phrases,
    "lvis_ferret": o.lvis,
    "wtq": o.wtq,
    "tabfact": o.tabfact,
    "token_f1": o.f1,
    "two_scores": o.review,
    "qa_verdict": o.verdict,
    "vcg_score": o.aspect,
    "mm_vet": o.mm_vet,
    "vl_icl": o.vl_icl,
}


def pairs(name: str) -> list[Any]:
    """The pairs of one metric, always the same."""
    if name == "ptb_tokens":
        return make_captions.singles()
    if name == "cider":
        predictions, references = make_captions.data_set()
        return [{"p": prediction, "r": captions} for prediction, captions in zip(predictions, references, strict=True)]
    rng = random.Random(f"pairs {name}")
    return [MAKERS[name](rng) for _ in range(N)]


def digest(items: list[Any]) -> str:
    """A fingerprint of the pairs that outputs were recorded for."""
    return hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()


NAMES = (*MAKERS, "ptb_tokens", "cider")
