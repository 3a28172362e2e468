"""The parity table of docs/EVAL.md: ``PYTHONPATH=src python tests/parity/evals/table.py``."""

from __future__ import annotations

import make_pairs
import ours
from disagreements import DISAGREEMENTS
from test_metric_parity import above_zero, recorded

LMMS, KIT = "lmms-eval 0.7.3", "VLMEvalKit (ms-vlmeval 0.0.20)"
REFERENCES = {
    "anls_lmms": f"{LMMS} `api/metrics.py`",
    "anls_kit": f"{KIT} `vqa_eval.py`",
    "relaxed_accuracy": f"{LMMS} `chartqa`",
    "vqa_evalai": f"{LMMS} `textvqa`",
    "vqa_vqav2": f"{LMMS} `vqav2`",
    "vqa_kit": f"{KIT} `vqa_eval.py`",
    "vqa_toolkit": "VQA toolkit, Python 3 port in OpenFlamingo (00dc792)",
    "few_shot_openflamingo": "OpenFlamingo `vqa_metric.py`",
    "choice_first_char": f"{LMMS} `seedbench`",
    "choice_letter_dot": f"{LMMS} `ai2d`",
    "choice_scienceqa": f"{LMMS} `scienceqa`",
    "choice_paren_prefix": "lmms-eval 0.6.1 `blink`",
    "choice_blink": f"{LMMS} `blink`",
    "choice_mmmu": f"{LMMS} `mmmu_mcq_utils.py`",
    "choice_priority": f"{LMMS} `mcq_extract.py`",
    "choice_mantis": f"{LMMS} `mantis`",
    "choice_can_infer": f"{KIT} `matching_util.py`",
    "pope_official": "POPE `evaluate.py`",
    "pope_exact": f"{LMMS} `pope`",
    "pope_kit": f"{KIT} `yorn.py`",
    "mme": f"{LMMS} `mme`",
    "binary_counts": "POPE `evaluate.py`",
    "mme_subtask": f"{LMMS} `mme`",
    "ocrbench_lmms": f"{LMMS} `ocrbench`",
    "ocrbench_hme": f"{LMMS} `ocrbench`, HME100k",
    "ocrbench_kit": f"{KIT} `image_vqa.py`",
    "mmmu_open": f"{LMMS} `mmmu`",
    "mathvista": f"{LMMS} `mathvista_evals.py`, without its judge",
    "box_iou": f"{LMMS} `refcoco`",
    "grounding_accuracy": f"{LMMS} `refcoco`",
    "centre_in_box": f"{LMMS} `screenspot`",
    "flickr_merged": "Ferret `eval_flickr_entities.py`",
    "phrase_key": "Ferret `eval_flickr_entities.py`",
    "lvis_ferret": "Ferret `eval_lvis.py`",
    "wtq": f"{KIT} `tablevqabench.py`",
    "tabfact": f"{KIT} `tablevqabench.py`",
    "token_f1": f"{LMMS} `mmsearch/score/f1_score.py` (SQuAD)",
    "two_scores": f"{LMMS} `ferret`",
    "qa_verdict": f"{LMMS} `activitynetqa`",
    "vcg_score": f"{LMMS} `videochatgpt`",
    "mm_vet": f"{LMMS} `mmvet`, replies given",
    "vl_icl": "VL-ICL `evals/eval.py`",
    "ptb_tokens": "Stanford PTBTokenizer 3.4.1 (Java), as in pycocoevalcap 1.2",
    "cider": "pycocoevalcap 1.2 `cider` on the Java tokens, pictures with 5 references",
}


def main() -> None:
    """Print one row per metric."""
    print("| metric | reference | pairs | above zero | equal | disagreements: who is right and why |")
    print("|---|---|---|---|---|---|")
    for name in make_pairs.NAMES:
        items, theirs = make_pairs.pairs(name), recorded(name)["outputs"]
        mine = ours.outputs(name, items)
        equal = sum(map(ours.same, mine, theirs))
        share = sum(map(above_zero, items, theirs)) / len(items)
        whys = "; ".join(f"**{rule.right}**: {rule.why}" for rule in DISAGREEMENTS if rule.metric == name)
        print(f"| {name} | {REFERENCES[name]} | {len(items):,} | {share:.0%} | {equal:,} | {whys or 'none'} |")


if __name__ == "__main__":
    main()
