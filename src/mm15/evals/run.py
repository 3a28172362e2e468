"""Run benchmarks over a model: every question answered exactly once, every answer kept, scores by ability.

A question whose picture cannot be read counts as wrong and stays in n. Beside each score stands what the best constant
answer would get. Nothing is left out silently: a benchmark without its files is listed as missing, one without its
judge as not judged, one whose right answers are secret as a submission to hand in, and a category or MMBase that needs
it is empty. An evaluation that was interrupted goes on where it stopped; one that is finished can be scored again
without a model.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mm15.base.batch import EncodedSample
from mm15.base.errors import ConfigError, DataError, SkipSample
from mm15.dist.ranks import is_first, meet, place
from mm15.evals.benchmark import Benchmark, find
from mm15.evals.items import Item, prompt_text, written
from mm15.evals.judge import Judge
from mm15.evals.predictions import Answers, Prediction
from mm15.evals.request import Request
from mm15.evals.results import EvalReport, Speed, ask_judge, results_json, summary
from mm15.generate.engine import BATCH_TOKENS, batches, generate
from mm15.io.atomic import write_atomic
from mm15.model.multimodal import MultimodalModel
from mm15.model.quantise import Int8Linear, PackedLinear
from mm15.processor import Processor

REQUEST, RESULTS, SUBMISSIONS = "evaluation.json", "results.json", "submissions"


def evaluate(
    model: MultimodalModel,
    processor: Processor,
    request: Request,
    out: str | Path | None = None,
    resume: bool = False,
    judge: Judge | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[str], None] | None = None,
) -> EvalReport:
    """Answer and score questions, greedily. With several ranks (``dist.ranks``) each answers its share of them, and all
    return the same report; they need one ``out`` that all of them see.

    Args:
        out: folder for ``predictions/``, ``submissions/``, ``results.json`` and the request; None writes nothing.
        resume: go on with what ``out`` holds; without it a folder that holds answers is refused.
        judge: gives the scores of judged benchmarks; without one they are reported as not judged.
        batch_tokens: places of the decoder's cache.
        progress: called with a line of text as answers come in.

    Raises:
        ConfigError: see ``Request.read``; or ``out`` holds another evaluation.
        DataError: see ``Request.read``; or a judge without replies.
    """
    rank, world = place()
    if world > 1 and out is None:
        raise ValueError("several ranks need a folder (out) for their answers")
    items = request.read()
    folder = Path(out) if out is not None else None
    decode = ", ".join(filter(None, ["greedy", str(model.compute_dtype).removeprefix("torch."), model.layout]))
    if folder:
        told = {**asdict(request), "folder": str(Path(request.folder).resolve()), "model": _weights_hash(model),
                "processor": processor.fingerprint, "decode": decode}  # fmt: skip
        _claim(folder, told, resume)
    answers = Answers(folder)
    predictions, speeds = {}, {}
    for name, asked in items.items():
        benchmark = find(name)
        mine = asked[rank::world]
        kept = answers.kept(name)
        clock = Speed()
        rest = [item for item in mine if item.key not in kept]
        done = len(mine) - len(rest)
        for group in _answer(model, processor, benchmark, rest, batch_tokens, decode, clock):
            answers.add(name, group, rank, world)
            done += len(group)
            if progress:
                progress(f"{name}: {done}/{len(mine)} answered{clock.told(len(rest), len(mine) - done)}")
        speeds[name] = clock
        meet()
        if is_first():
            ordered = _in_order(answers, name, asked)
            answers.whole(name, ask_judge(benchmark, ordered, asked, judge, progress) if judge else ordered)
        meet()
        predictions[name] = _in_order(answers, name, asked)
    report = summary(predictions, items, request.family, request.readings, judge.name if judge else "")
    report = replace(report, missing=[name for name in request.names if name not in items], speeds=speeds,
                     partial=request.shortened, fixed=request.fixed(items))  # fmt: skip
    _keep(folder, answers, report)
    meet()
    return report


def rescore(out: str | Path, folder: str | Path | None = None, judge: Judge | None = None) -> EvalReport:
    """Score the answers in a folder again, without a model.

    Args:
        out: what ``evaluate`` wrote.
        folder: where the benchmarks' files lie, if they have moved.

    Raises:
        DataError: no evaluation there, questions without an answer, or what ``Request.read`` finds.
    """
    out = Path(out)
    if not (out / REQUEST).is_file():
        raise DataError(
            f"{out} holds no evaluation ({REQUEST} is not there); run one with: mm15 eval BUNDLE --out {out}"
        )
    told = json.loads((out / REQUEST).read_text(encoding="utf-8"))
    request = Request.from_json(told)
    if folder is not None:
        request = replace(request, folder=str(folder))
    items = request.read()
    answers = Answers(out)
    predictions = {}
    for name, asked in items.items():
        ordered = _in_order(answers, name, asked)
        predictions[name] = ask_judge(find(name), ordered, asked, judge, None) if judge else ordered
    report = summary(predictions, items, request.family, request.readings, judge.name if judge else "")
    report = replace(report, missing=[name for name in request.names if name not in items],
                     partial=request.shortened, fixed=request.fixed(items))  # fmt: skip
    _keep(out, answers, report)
    return report


def _in_order(answers: Answers, name: str, asked: Sequence[Item]) -> list[Prediction]:
    found = answers.kept(name)
    return [found[item.key] for item in asked if item.key in found]


def _keep(folder: Path | None, answers: Answers, report: EvalReport) -> None:
    """Predictions with their scores, submissions, and the results."""
    if folder is None or not is_first():
        return
    for name, kept in report.predictions.items():
        answers.whole(name, kept)
    for files in report.submissions.values():
        for file, value in files.items():
            write_atomic(folder / SUBMISSIONS / file, json.dumps(value, ensure_ascii=False))
    write_atomic(folder / RESULTS, json.dumps(results_json(report), indent=1))


def _claim(folder: Path, told: Mapping[str, Any], resume: bool) -> None:
    """Take the folder for this evaluation, or go on with the same one."""
    path = folder / REQUEST
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        plain = json.loads(json.dumps(told))
        differing = [name for name in told if before.get(name) != plain[name]]
        if not resume:
            raise ConfigError([f"{folder} holds an evaluation already: go on with --resume, score it again with "
                               "--rescore, or give another --out"], str(folder))  # fmt: skip
        if differing:
            problems = [f"{name}: was {before.get(name)!r}, is {plain[name]!r}" for name in differing]
            raise ConfigError([*problems, "these answers cannot be mixed; give another --out"], str(folder))
    meet()
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(told, indent=1))
    meet()


def _answer(
    model: MultimodalModel,
    processor: Processor,
    benchmark: Benchmark,
    items: Sequence[Item],
    batch_tokens: int,
    decode: str,
    clock: Speed,
) -> Iterator[list[Prediction]]:
    """Answers group by group; a question that cannot be encoded comes with the group that follows it."""
    by_key = {item.key: item for item in items}
    failed: list[Prediction] = []

    def readable() -> Iterator[EncodedSample]:
        for item in items:
            start, encoded = time.perf_counter(), None
            try:
                encoded = processor.encode(item.sample, answering=True)
            except SkipSample as error:
                failed.append(_prediction(item, "", "", 0, "error", decode, str(error)))
            # Before it is handed out: what is done with it meanwhile is not reading.
            clock.reading += time.perf_counter() - start
            if encoded is not None:
                yield encoded

    most = max([benchmark.max_new_tokens, *(item.max_new_tokens for item in items)])
    for group in batches(_timed(readable(), clock), most, batch_tokens):
        start = time.perf_counter()
        generated = generate(model, processor, group, most, batch_tokens=batch_tokens)
        clock.answering += time.perf_counter() - start
        made = []
        for encoded, answer in zip(group, generated, strict=True):
            total = encoded.num_tokens + len(answer.ids)
            item = by_key[encoded.key]
            how = f"{decode}, at most {most} tokens"
            made.append(_prediction(item, _hash(encoded), answer.text.strip(), total, answer.stop_reason, how))
        clock.count(made + failed)
        yield made + failed
        failed.clear()
    if failed:
        clock.count(failed)
        yield list(failed)


def _timed(samples: Iterator[EncodedSample], clock: Speed) -> Iterator[EncodedSample]:
    clock.start()
    yield from samples


def _prediction(
    item: Item, hashed: str, answer: str, tokens: int, stop_reason: str, decode: str, error: str = ""
) -> Prediction:
    return Prediction(
        key=item.key,
        prompt=prompt_text(item.sample),
        prompt_hash=hashed,
        answer=answer,
        references=tuple(written(reference, item) for reference in item.references),
        tokens=tokens,
        stop_reason=stop_reason,
        task=item.task,
        group=item.group,
        decode=decode,
        error=error,
    )


def _hash(encoded: EncodedSample) -> str:
    digest = hashlib.sha256(encoded.tokens_T.numpy().tobytes())
    digest.update(encoded.tiles_NCHW.numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def _weights_hash(model: MultimodalModel) -> str:
    """Of names, shapes and sums of all weights: another model than the one whose answers lie here is noticed."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)} {float(weight.double().sum())!r}".encode())
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear | Int8Linear):
            digest.update(f"{name} {module.checksum!r}".encode())
    return digest.hexdigest()[:16]
