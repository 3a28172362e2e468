"""Evaluation of a trained bundle: in batches beside one question at a time, and beside transformers' ``generate``.

Greedy, fp32, the first ``--limit`` questions of each benchmark of the mini suite that is named (built in a temporary
folder unless ``--data`` has it). Everything is checked first: one at a time and in batches must answer alike, and so
must the bundle exported with ``mm15 export --to hf``. That side gets the same tokens and pixels as ours, so reading
pictures counts on neither; it answers one at a time and in padded batches, and counts with the better. Rounds are
interleaved; figures are medians, with the lowest and the highest.

``--perplexity`` also tells what bf16 and int8 weights do to the perplexity of the right answers to those questions:
exp of the mean negative log-likelihood of the tokens of the first right answer and its end, given picture and question.

    python benchmarks/evaluation.py BUNDLE [--benchmarks mini-vqa mini-words] [--limit 96] [--rounds 3] [--perplexity]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers

from mm15.base.batch import IGNORE, EncodedSample, pack
from mm15.base.types import assistant
from mm15.build._mini_suite import build_suite
from mm15.bundle import Bundle, load_bundle
from mm15.evals.benchmark import find
from mm15.evals.items import Item, written
from mm15.evals.request import Request
from mm15.generate.engine import BATCH_TOKENS, batches, generate
from mm15.model.quantise import prepare
from mm15.model.vit import normalise
from mm15.transfer.exporting import export

Answers = list[list[int]]


def ours(bundle: Bundle, prompts: Sequence[EncodedSample], most: int, batch_tokens: int) -> Answers:
    """As ``mm15 eval`` answers: groups that fit the cache, one engine for each."""
    said: Answers = []
    for group in batches(prompts, most, batch_tokens):
        said += [list(a.ids) for a in generate(bundle.model, bundle.processor, group, most, batch_tokens=batch_tokens)]
    return said


def theirs(model: Any, bundle: Bundle, prompts: Sequence[EncodedSample], most: int, size: int) -> Answers:
    """transformers' ``generate`` on the same tokens and pixels, ``size`` prompts at a time, those of like length
    together; what stands behind an end token is padding."""
    vision, stops = bundle.model.config.vision, bundle.processor.stop_tokens
    pad = min(stops)
    order = sorted(range(len(prompts)), key=lambda place: prompts[place].num_tokens)
    said: Answers = [[] for _ in prompts]
    for start in range(0, len(order), size):
        group = order[start : start + size]
        longest = max(prompts[place].num_tokens for place in group)
        tokens_BT = torch.full((len(group), longest), pad)
        seen_BT = torch.zeros_like(tokens_BT)
        for row, place in enumerate(group):
            tokens_BT[row, longest - prompts[place].num_tokens :] = prompts[place].tokens_T
            seen_BT[row, longest - prompts[place].num_tokens :] = 1
        inputs: dict[str, Any] = {"input_ids": tokens_BT, "attention_mask": seen_BT}
        tiles_NCHW = torch.cat([prompts[place].tiles_NCHW for place in group])
        if len(tiles_NCHW):
            inputs["pixel_values"] = normalise(tiles_NCHW, vision.mean, vision.std)
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=most, do_sample=False, pad_token_id=pad)
        for row, place in enumerate(group):
            tokens = out[row, longest:].tolist()
            said[place] = tokens[: next((k for k, token in enumerate(tokens) if token in stops), len(tokens))]
    return said


def timed(
    sides: dict[str, Callable[[], Answers]], rounds: int, questions: int, now: Callable[[], float]
) -> dict[str, tuple[float, float, float]]:
    """Questions per second of every side: median, lowest, highest; one side after the other in each round."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = now()
            side()
            rates[name].append(questions / (now() - began))
    return {name: (statistics.median(found), min(found), max(found)) for name, found in rates.items()}


def answered(bundle: Bundle, items: Sequence[Item]) -> Iterator[EncodedSample]:
    """The questions with their first right answer behind them, as training would see them."""
    for item in items:
        messages = (*item.sample.messages, assistant(written(item.references[0], item)))
        yield bundle.processor.encode(replace(item.sample, messages=messages))


@torch.inference_mode()
def perplexity(bundle: Bundle, samples: Sequence[EncodedSample]) -> tuple[float, int]:
    """Of the tokens of the answers, and how many those are. All positions but the answers' are left out."""
    processor, loss, tokens = bundle.processor, 0.0, 0
    for start in range(0, len(samples), 16):
        batch = pack(samples[start : start + 16], processor.image_token, processor.tokens_per_tile)
        out = bundle.model(batch)
        loss += float(F.cross_entropy(out.logits_LV.float(), out.targets_L, ignore_index=IGNORE, reduction="sum"))
        tokens += int((out.targets_L != IGNORE).sum())
    return math.exp(loss / tokens), tokens


def tell_perplexity(folder: Path, items: Sequence[Item]) -> None:
    base = 0.0
    for name, dtype, kind in (("fp32", None, None), ("bf16, packed", "bf16", None), ("int8", None, "int8")):
        bundle = load_bundle(folder)
        prepare(bundle.model, dtype, kind)
        value, tokens = perplexity(bundle, list(answered(bundle, items)))
        base = base or value
        print(
            f"  perplexity of {tokens} tokens of right answers, {name}: {value:.4f} ({100 * (value / base - 1):+.2f} %)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, help="The mini suite, where it is built already.")
    parser.add_argument("--benchmarks", nargs="+", default=["mini-vqa", "mini-words"])
    parser.add_argument("--limit", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--their-batch", type=int, default=32, help="Prompts of a padded batch of transformers.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--perplexity", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="Seconds of the processor: where others compute too.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    bundle = load_bundle(arguments.bundle)
    bundle.model.eval()
    with tempfile.TemporaryDirectory() as folder:
        suite, exported = arguments.data or Path(folder, "suite"), Path(folder, "exported")
        if arguments.data is None:
            build_suite(suite)
        export(bundle, exported, "hf")
        load: Any = transformers.AutoModelForImageTextToText
        model = load.from_pretrained(
            exported, dtype=torch.float32, trust_remote_code=True, local_files_only=True
        ).eval()
        print(f"{arguments.threads} threads, torch {torch.__version__}, transformers {transformers.__version__}")
        read = Request(str(suite), tuple(arguments.benchmarks), limit=arguments.limit).read()
        for name, items in read.items():
            most = max([find(name).max_new_tokens, *(item.max_new_tokens for item in items)])
            prompts = [bundle.processor.encode(item.sample, answering=True) for item in items]
            padded = arguments.their_batch
            sides: dict[str, Callable[[], Answers]] = {
                "mm15 in batches": lambda p=prompts, m=most: ours(bundle, p, m, BATCH_TOKENS),
                "mm15 one at a time": lambda p=prompts, m=most: ours(bundle, p, m, 1),
                f"transformers, {padded}": lambda p=prompts, m=most, n=padded: theirs(model, bundle, p, m, n),
                "transformers, 1": lambda p=prompts, m=most: theirs(model, bundle, p, m, 1),
            }
            answers = {side: run() for side, run in sides.items()}
            first = answers["mm15 in batches"]
            for side, said in answers.items():
                parted = [item.key for item, a, b in zip(items, first, said, strict=True) if a != b]
                assert not parted, f"{name}: {side} answers otherwise: {', '.join(parted[:5])} ({len(parted)} in all)"
            tokens = sum(map(len, first))
            print(f"{name}: {len(items)} questions, {tokens} tokens, the same answers on all sides", flush=True)
            rates = timed(
                sides, arguments.rounds, len(items), time.process_time if arguments.cpu_time else time.perf_counter
            )
            for side, (median, least, most_) in rates.items():
                print(f"  {side:<20} {median:7.2f} questions/s ({least:.2f} to {most_:.2f})")
            batched, alone = rates["mm15 in batches"][0], rates["mm15 one at a time"][0]
            peer = max(rates[side][0] for side in sides if side.startswith("transformers"))
            print(f"  in batches {batched / alone:.2f}x one at a time, {batched / peer:.2f}x transformers", flush=True)
            if arguments.perplexity:
                tell_perplexity(arguments.bundle, items)


if __name__ == "__main__":
    main()
