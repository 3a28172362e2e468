"""The public implementations' outputs for the pairs of ``make_pairs.py``; run by an environment of their own.

    python3.11 -m venv oracle
    oracle/bin/pip install --no-deps lmms-eval==0.7.3 ms-vlmeval==0.0.20 pycocoevalcap==1.2
    oracle/bin/pip install loguru pyyaml numpy pandas Levenshtein tqdm
    git show HEAD:<path> of the repositories in SOURCES into one folder, under the names given there
    oracle/bin/python tests/parity/evals/oracle.py SOURCES_FOLDER OUTPUT_FOLDER [name ...]

Tokens of captions come from the Java program inside pycocoevalcap, so ``java`` must be on the path. Nothing of the
reference code is copied here: functions are taken out of the installed files, statement by statement, because most of
those files import packages far heavier than the few lines that score.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import gzip
import importlib.metadata
import importlib.util
import io
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_pairs
from pairs_words import LETTERS

SOURCES = {
    "vl_icl_eval.py": "github.com/ys-zong/VL-ICL evals/eval.py",
    "open_flamingo_vqa_metric.py": "github.com/mlfoundations/open_flamingo open_flamingo/eval/vqa_metric.py",
    # The original toolkit (github.com/GT-Vision-Lab/VQA vqaEval.py) is Python 2; this older file is its port.
    "open_flamingo_vqa_metric_00dc792.py": "the same file at commit 00dc792",
    "ferret_eval_lvis.py": "github.com/apple/ml-ferret ferret/eval/eval_lvis.py",
    "ferret_eval_flickr.py": "github.com/apple/ml-ferret ferret/eval/eval_flickr_entities.py",
    "pope_evaluate.py": "github.com/AoiDragon/POPE evaluate.py",
    "blink_061.py": "lmms-eval==0.6.1 lmms_eval/tasks/blink/utils.py",
}
CRASH = "<crash>"


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec and spec.submodule_search_locations, f"{name} is not installed in this environment"
    return Path(next(iter(spec.submodule_search_locations)))


LMMS, KIT = package("lmms_eval"), package("vlmeval")


def functions(path: Path, **given: Any) -> types.SimpleNamespace:
    """The definitions of a file. Imports that fail here are left out; ``given`` stands in for them."""
    space: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    kept = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(statement, kept):
            continue
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(("lmms_eval", "vlmeval")):
            continue
        space.update(given)
        try:
            exec(compile(ast.Module([statement], []), str(path), "exec"), space)
        except (ImportError, KeyError, NameError):
            continue
    return types.SimpleNamespace(space=space, **{k: v for k, v in space.items() if k.isidentifier()})


def lmms(path: str, **given: Any) -> types.SimpleNamespace:
    return functions(LMMS / "tasks" / path, **given)


class Quiet:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def scored(key: str, process: Callable[..., dict[str, Any]]) -> Callable[[dict[str, Any], str], float]:
    return lambda doc, prediction: float(process(doc, [prediction])[key])


def build(folder: Path) -> dict[str, Callable[[Any], Any]]:
    """name → a function from one pair to the reference's output."""
    evalai = lmms("_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor
    textvqa = lmms("textvqa/utils.py", EvalAIAnswerProcessor=evalai).textvqa_process_results
    vqav2 = lmms("vqav2/utils.py", EvalAIAnswerProcessor=evalai).vqav2_process_results
    punctuation = functions(KIT / "smp/misc.py").process_punctuation
    kit_vqa = functions(
        KIT / "dataset/utils/vqa_eval.py",
        process_punctuation=punctuation,
        istype=lambda x, t: True,
        listinstr=lambda names, text: any(name in text for name in names),
    )
    lmms_anls = functions(
        LMMS / "api/metrics.py", register_metric=lambda **k: lambda f: f, register_aggregation=lambda n: lambda f: f
    )
    flamingo = functions(folder / "open_flamingo_vqa_metric.py")
    toolkit_port = functions(folder / "open_flamingo_vqa_metric_00dc792.py")
    chart = lmms("chartqa/utils.py")
    mcq = lmms("_task_utils/mcq_extract.py").extract_mcq_answer
    mmmu_mcq = lmms("_task_utils/mmmu_mcq_utils.py")
    mmmu_mcq.space["random"] = types.SimpleNamespace(choice=lambda letters: "")
    mmmu = lmms("mmmu/utils.py")
    seed, scienceqa, mantis = (lmms(f"{name}/utils.py") for name in ("seedbench", "scienceqa", "mantis"))
    blink, blink_old = (
        lmms("blink/utils.py")._extract_answer_letter,
        functions(folder / "blink_061.py")._extract_answer_letter,
    )
    ai2d = lmms("ai2d/utils.py", ExtendedRegexFilter=type("Filter", (), {})).MultiChoiceRegexFilter
    matching = functions(KIT / "utils/matching_util.py", get_logger=lambda name: Quiet())
    yorn = functions(KIT / "dataset/utils/yorn.py", process_punctuation=punctuation)
    pope, mme = lmms("pope/utils.py"), lmms("mme/utils.py", eval_logger=Quiet())
    ocr = lmms("ocrbench/utils.py").ocrbench_process_results
    tables = functions(KIT / "dataset/utils/tablevqabench.py")
    rec, spot = lmms("refcoco/utils_rec.py"), lmms("screenspot/utils_rec.py")
    flickr = functions(folder / "ferret_eval_flickr.py")
    math_class = lmms(
        "mathvista/mathvista_evals.py", ServerConfig=lambda **k: None, get_server=lambda **k: None, eval_logger=Quiet()
    ).MathVistaEvaluator
    math_class.get_chat_response = lambda self, *args, **kwargs: ""
    vista = math_class()
    ferret, anet = lmms("ferret/utils.py", eval_logger=Quiet()), lmms("activitynetqa/utils.py", eval_logger=Quiet())
    vcg = lmms("videochatgpt/utils.py", eval_logger=Quiet())
    vet = lmms("mmvet/utils.py", eval_logger=Quiet(), ServerConfig=lambda **k: None, get_server=lambda **k: None)
    vet.space["time"] = types.SimpleNamespace(sleep=lambda seconds: None)
    vl_icl = functions(folder / "vl_icl_eval.py")
    squad = lmms("mmsearch/score/f1_score.py").get_f1_score

    def letters(item: dict[str, Any]) -> list[str]:
        return list(LETTERS[: len(item["c"])])

    def options(item: dict[str, Any]) -> dict[str, str]:
        return dict(zip(letters(item), item["c"], strict=True))

    def asked(item: dict[str, Any], right: Callable[[str], bool]) -> str:
        """The letter for which a reference that only says right or wrong says right."""
        return next((letter for letter in letters(item) if right(letter)), "")

    def kit_score(item: dict[str, Any], method: str, name: str) -> float:
        line = kit_vqa.process_line({"answer": repr(item["r"]), "prediction": item["p"]}, method)
        return float(kit_vqa.hit_calculate([line], name)[0])

    def toolkit(item: dict[str, Any]) -> float:
        vqa, answers = toolkit_port.VQA(), [{"answer": a, "answer_id": i} for i, a in enumerate(item["r"])]
        vqa.qa = {0: {"answers": answers, "question_type": "t", "answer_type": "t"}}
        result = toolkit_port.VQA()
        result.qa = {0: {"answer": item["p"]}}
        result.getQuesIds = lambda: [0]
        evaluation = toolkit_port.VQAEval(vqa, result, n=10)
        evaluation.updateProgress = lambda progress: None
        evaluation.evaluate()
        return evaluation.evalQA[0] / 100

    def ai2d_right(item: dict[str, Any], letter: str) -> bool:
        found = ai2d.apply(None, [[item["p"]]], [None])
        return bool(
            lmms_anls.exact_match_hf_evaluate(found, [letter], ignore_case=True, ignore_punctuation=True)["exact_match"]
        )

    def mantis_right(item: dict[str, Any], letter: str) -> bool:
        return mantis.get_prediction("multi-choice", item["p"], letter, item["c"])["correct"]

    def pope_script(predictions: list[str], truths: list[str]) -> dict[str, Any]:
        lines = iter((predictions, truths))
        keys = iter(("answer", "label"))

        def opened(*args: Any) -> io.StringIO:
            key = next(keys)
            return io.StringIO("\n".join(json.dumps({key: value}) for value in next(lines)))

        space: dict[str, Any] = {"open": opened, "print": lambda *args: None, "__builtins__": builtins}
        exec(compile((folder / "pope_evaluate.py").read_text(), "pope", "exec"), space)
        return space

    def pope_one(item: dict[str, Any]) -> str:
        # A right "no" leaves the script's precision without a divisor, so one certain yes goes with every answer.
        return "yes" if pope_script(["yes", item["p"]], ["yes", "yes"])["pred_list"][1] else "no"

    def pope_counts(item: list[list[str]]) -> list[float]:
        space = pope_script(*(list(side) for side in zip(*item, strict=True)))
        return [space[name] for name in ("acc", "precision", "recall", "f1", "yes_ratio")]

    def lvis() -> Callable[[dict[str, Any]], float]:
        tree = ast.parse((folder / "ferret_eval_lvis.py").read_text())
        main = next(node for node in tree.body if isinstance(node, ast.If))
        loop = next(node for node in main.body if isinstance(node, ast.For))
        code = compile(ast.Module([loop], []), "lvis", "exec")
        space = {**functions(folder / "ferret_eval_lvis.py").space, "tqdm": lambda items: items}

        def run(item: dict[str, Any]) -> float:
            record = {"name": item["name"], "synonyms": list(item["synonyms"]), "text": item["p"]}
            space.update(predictions=[record], total_correct=0)
            exec(code, space)
            return float(space["total_correct"])

        return run

    class Rows(list):
        @property
        def iloc(self) -> Rows:
            return self

    def kit_ocr() -> Callable[..., dict[str, float]]:
        tree = ast.parse((KIT / "dataset/image_vqa.py").read_text())
        cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "OCRBench")
        method = next(node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "evaluate")
        method.decorator_list = []
        space: dict[str, Any] = {"tqdm": lambda items: items, "dump": lambda *args: None, "load": Rows}
        space["get_intermediate_file_path"] = lambda *args: None
        exec(compile(ast.Module([method], []), "ocr", "exec"), space)
        return space["evaluate"]

    kit_ocr_run = kit_ocr()

    def kit_ocr_score(item: dict[str, Any]) -> float:
        row = {"prediction": item["p"], "answer": repr(item["r"]), "category": "Doc-oriented VQA"}
        return float(kit_ocr_run(None, [row])["Final Score"])

    def ocr_score(item: dict[str, Any], dataset: str) -> float:
        doc = {"answer": item["r"], "dataset": dataset, "question_type": "x"}
        return float(ocr(doc, [item["p"]])["ocrbench_accuracy"]["score"])

    def wtq(item: dict[str, Any]) -> float:
        rows = [{"prediction": item["p"], "answer": item["r"]}]
        tables.evaluate_wtq(rows, ["s"])
        return float(rows[0]["scores"]["s"])

    def tabfact(item: dict[str, Any]) -> float:
        rows = [{"prediction": item["p"], "answer": item["r"]}]
        tables.evaluate_tabfact(rows, ["s"])
        return float(rows[0]["scores"]["s"] or 0)

    def open_score(item: dict[str, Any]) -> float:
        return float(mmmu.eval_open(item["r"], mmmu.parse_open_response(item["p"])))

    def mathvista(item: dict[str, Any]) -> list[Any]:
        found = vista.extract_answer(item["p"], {**item, "choices": item["c"], "query": ""}, quick_extract=True)
        if not found and item["p"]:
            return ["asks a judge", 0.0]
        normal = vista.normalize_extracted_answer(
            found, item["c"], item["question_type"], item["answer_type"], item["precision"]
        )
        return [None if normal is None else str(normal), float(vista.safe_equal(normal, item["r"]))]

    def merged(item: dict[str, Any]) -> float:
        target = flickr._merge_boxes(item["r"])
        return float(flickr.box_iou(flickr.np.asarray([item["p"]]), flickr.np.asarray(target)).max() >= 0.5)

    def verdict(item: str) -> list[Any] | None:
        found = anet.parse_score(item)
        return found and [found[0] if found[0] in ("yes", "no") else None, found[1]]

    def mm_vet(item: str) -> float:
        asked_again = iter(range(20))  # a score outside 0 to 1 makes the published code ask for ever: a crash here

        def reply(*args: Any, **kwargs: Any) -> tuple[str, str]:
            next(asked_again)
            return item.strip(), "judge"

        vet.space["get_chat_response"] = reply
        doc = {"question": "", "answer": "", "question_id": 0, "capability": ""}
        return float(vet.mmvet_process_results(doc, [""])["gpt_eval_score"]["score"])

    def vl_icl_score(item: dict[str, Any]) -> float:
        return float(vl_icl.eval_scores([{"prediction": item["p"], "answer": item["r"]}], item["task"]))

    def mme_subtask(item: list[list[int]]) -> float:
        rows = [{"question_id": i, "score": s, "category": "x"} for i, pair in enumerate(item) for s in pair]
        return float(mme.mme_aggregate_results(rows))

    pope_exact = scored("score", lambda doc, results: pope.pope_process_results(doc, results)["pope_accuracy"])
    return {
        "anls_lmms": lambda i: float(lmms_anls.anls(i["r"], [i["p"]])["anls"]),
        "anls_kit": lambda i: kit_score(i, "anls", "DocVQA"),
        "relaxed_accuracy": lambda i: float(chart.relaxed_correctness(i["p"], i["r"])),
        "vqa_evalai": lambda i: scored("exact_match", textvqa)({"answers": list(i["r"]), "question_id": 0}, i["p"]),
        "vqa_vqav2": lambda i: scored("exact_match", vqav2)(
            {"answers": [{"answer": a, "answer_id": n} for n, a in enumerate(i["r"])], "question_id": 0}, i["p"]
        ),
        "vqa_kit": lambda i: kit_score(i, "vqa_score", "VQA"),
        "vqa_toolkit": toolkit,
        "few_shot_openflamingo": lambda i: flamingo.postprocess_vqa_generation(i["p"]).strip(),
        "choice_first_char": lambda i: asked(
            i,
            lambda letter: bool(
                seed.seed_aggregation_result(
                    [
                        seed.seed_process_result({"answer": letter, "data_type": "t", "question_id": 0}, [i["p"]])[
                            "seed_all"
                        ]
                    ]
                )
            ),
        ),
        "choice_letter_dot": lambda i: asked(i, lambda letter: ai2d_right(i, letter)),
        "choice_scienceqa": lambda i: asked(
            i,
            lambda letter: bool(
                scienceqa.sqa_process_results({"choices": i["c"], "answer": ord(letter) - 65}, [i["p"]])["exact_match"]
            ),
        ),
        "choice_paren_prefix": lambda i: asked(i, lambda letter: blink_old(i["p"]) == letter),
        "choice_blink": lambda i: blink(i["p"], "".join(letters(i))),
        "choice_mmmu": lambda i: mmmu_mcq.parse_mmmu_multi_choice_response(i["p"], letters(i), options(i)),
        "choice_priority": lambda i: mcq(i["p"], letters(i)),
        "choice_mantis": lambda i: asked(i, lambda letter: mantis_right(i, letter)),
        "choice_can_infer": lambda i: (matching.can_infer(i["p"], options(i)) or "").replace("Z", ""),
        "pope_official": pope_one,
        "pope_exact": lambda i: pope_exact({"answer": i["r"], "question_id": 0}, i["p"]),
        "pope_kit": lambda i: yorn.YOrN_Extraction(i["p"]).lower().replace("unknown", ""),
        "mme": lambda i: mme.parse_pred_ans(i["p"]).replace("other", ""),
        "binary_counts": pope_counts,
        "mme_subtask": mme_subtask,
        "ocrbench_lmms": lambda i: ocr_score(i, "x"),
        "ocrbench_hme": lambda i: ocr_score(i, "HME100k"),
        "ocrbench_kit": kit_ocr_score,
        "mmmu_open": open_score,
        "mathvista": mathvista,
        "box_iou": lambda i: float(rec.compute_iou(*i)),
        "grounding_accuracy": lambda i: float(rec.compute_accuracy(*i)),
        "centre_in_box": lambda i: float(spot.compute_center_accuracy(i[1], i[0])),
        "flickr_merged": merged,
        "phrase_key": lambda i: float(flickr.are_phrases_similar(*i)),
        "lvis_ferret": lvis(),
        "wtq": wtq,
        "tabfact": tabfact,
        "token_f1": lambda i: float(squad(i["p"], i["r"])),
        "two_scores": lambda i: None if -1 in (found := ferret.parse_score(i)) else found,
        "qa_verdict": verdict,
        "vcg_score": lambda i: vcg.parse_score(i),
        "mm_vet": mm_vet,
        "vl_icl": vl_icl_score,
    }


def java_tokens(captions: list[str]) -> list[str]:
    """One line of tokens per caption, from the Java program, by pycocoevalcap's own wrapper."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({i: [{"caption": caption}] for i, caption in enumerate(captions)})
    return [" ".join(found[i][0].split()) for i in range(len(captions))]


def cider(items: list[dict[str, Any]]) -> list[Any]:
    """Per picture: tokens of the prediction, of the references, and its CIDEr."""
    from pycocoevalcap.cider.cider import Cider

    lines = iter(java_tokens([caption for item in items for caption in (item["p"], *item["r"])]))
    predictions, references = {}, {}
    for i, item in enumerate(items):
        predictions[i] = [next(lines)]
        references[i] = [next(lines) for _ in item["r"]]
    scores = Cider().compute_score(references, predictions)[1]
    return [[predictions[i][0], references[i], float(scores[i])] for i in range(len(items))]


def attempt(run: Callable[[Any], Any], item: Any) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            value = run(item)
    except Exception:
        return CRASH
    if isinstance(value, float):
        return CRASH if math.isnan(value) else round(value, 12)
    return value


def main() -> None:
    folder, out, *wanted = sys.argv[1:]
    runs = build(Path(folder))
    versions = {name: importlib.metadata.version(name) for name in ("lmms-eval", "ms-vlmeval", "pycocoevalcap")}
    for name in wanted or make_pairs.NAMES:
        items = make_pairs.pairs(name)
        if name == "cider":
            outputs = cider(items)
        elif name == "ptb_tokens":
            outputs = java_tokens(items)
        else:
            outputs = [attempt(runs[name], item) for item in items]
        record = {"pairs": make_pairs.digest(items), "versions": versions, "outputs": outputs}
        data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        (Path(out) / f"{name}.json.gz").write_bytes(gzip.compress(data, mtime=0))
        print(f"{name}: {len(outputs)} outputs, {outputs.count(CRASH)} crashes", flush=True)


if __name__ == "__main__":
    main()
