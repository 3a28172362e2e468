"""Our bundles as models of lmms-eval 0.7 (the extra ``lmms-eval``).

Only lmms-eval imports this module, through the entry point (``lmms_manifest``), or a program that has it and makes an
instance: ``simple_evaluate(model=MM15("runs/mine/bundle"), tasks=["pope"])``. Requests of chat tasks are
(context, doc_to_messages, generation arguments, row, task, split); its guide leaves out the first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmms_eval.api.instance import GenerationResult  # pyright: ignore[reportMissingImports]
from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]  (an extra that `dev` leaves out)
from loguru import logger  # pyright: ignore[reportMissingImports]  (comes with lmms-eval)

from mm15.base.errors import ConfigError
from mm15.bridges.answers import GREEDY, IMAGE, TEXT, Piece, Question, Settings, answer, log_likelihoods, open_bundle
from mm15.generate.engine import BATCH_TOKENS
from mm15.generate.sampling import Sampling

NEUTRAL = {"num_beams": 1, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""Generation arguments that change answers and that the engine has not, with the value that changes nothing."""
SOUNDS = (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tiff", ".webp")


class MM15(lmms):
    """A bundle that answers chat tasks, which all of lmms-eval's generating tasks are.

    Args:
        bundle: folder of a bundle, or of a run with one.
        device: as torch names it; empty: the first CUDA device, else the CPU.
        batch_tokens: places of the decoder's cache. Batches are made by tokens and do not change answers, so
            ``batch_size``, which lmms-eval always gives, has no effect.
        max_new_tokens: where a task does not say.
        seed: of draws, where a task samples.
    """

    is_simple = False

    def __init__(
        self,
        bundle: str,
        device: str = "",
        batch_tokens: int = BATCH_TOKENS,
        max_new_tokens: int = 256,
        seed: int = 0,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.bundle = open_bundle(str(bundle), device)
        self.device = next(self.bundle.model.parameters()).device
        self.batch_tokens = int(batch_tokens)
        self.max_new_tokens = int(max_new_tokens)
        self.seed = int(seed)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers in the order of the requests; ``answers.answer`` says what becomes of unreadable pictures.

        Raises:
            ConfigError: a generation argument that cannot be honoured.
            DataError: a question with a clip or sound, or one that ends with a begun answer.
        """
        told: list[str] = [""] * len(requests)
        asked: Counter[str] = Counter()
        groups: dict[Settings, list[tuple[int, str]]] = defaultdict(list)
        for number, request in enumerate(requests):
            name = self._name(request)
            asked[name] += 1  # a task may ask the same row several times and wants several draws
            key = name if asked[name] == 1 else f"{name}/{asked[name]}"
            groups[self._settings(self._arguments(request), name)].append((number, key))
        for settings, members in groups.items():
            questions = (Question(key, self._turns(requests[number])) for number, key in members)
            said = answer(self.bundle, questions, settings, logger.warning, self.batch_tokens)
            for (number, _), text in zip(members, said, strict=True):
                told[number] = text
        return told

    def loglikelihood(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """How likely given answers are, one forward per batch: (loss, whether greedy decoding says it) as ``text``.

        Not what the base class says but what 0.7.3 reads: its multiple choice takes the smallest number (so this is
        minus the log-probability, summed over tokens), and a pair that stands in no result is turned into a string.
        lmms-eval asks for it in multiple-choice tasks, which its chat interface does not have: ``--force_simple``.

        Raises:
            SkipSample: a question cannot be asked.
        """
        found = log_likelihoods(self.bundle, self._pairs(requests), self.batch_tokens)
        return [GenerationResult(text=(-chance, is_greedy)) for chance, is_greedy in found]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused: the two task families with rounds (OVO-Bench, MMSearch) want clips or the network.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            ["tasks of several rounds are not answered; leave them out: " + ", ".join(sorted({*_tasks(requests)}))],
            "mm15 in lmms-eval",
        )

    def _pairs(self, requests: Sequence[Any]) -> Iterator[tuple[Question, str]]:
        for request in requests:
            context, target, *row = request.args
            visuals: list[Any] = []
            key = "lmms-eval/without a row"
            if row:  # without: the chance of an answer alone, for mutual information
                doc_to_visual, number, task, split = row
                doc = self.task_dict[task][split][number]
                target = target if isinstance(target, str) else target(doc)
                visuals = doc_to_visual(doc) or []
                key = f"{task}/{split}/{number}"
            yield Question(key, _user_turn(visuals, context)), str(target)

    def _turns(self, request: Any) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
        _, doc_to_messages, _, number, task, split = request.args
        return tuple(
            (message["role"], tuple(_pieces(message["content"])))
            for message in doc_to_messages(self.task_dict[task][split][number])
        )

    def _arguments(self, request: Any) -> Mapping[str, Any]:
        return request.args[2]

    def _name(self, request: Any) -> str:
        number, task, split = request.args[-3:]
        return f"{task}/{split}/{number}"

    def _settings(self, given: Mapping[str, Any], name: str) -> Settings:
        """Generation arguments as Hugging Face reads them: without ``do_sample`` a temperature above 0 samples."""
        given = {key: value for key, value in given.items() if value is not None}
        problems = [
            f"{key}={given[key]} is not supported; run with --gen_kwargs {key}={neutral}"
            for key, neutral in NEUTRAL.items()
            if given.get(key, neutral) != neutral
        ]
        top_k = given.get("top_k", 0)
        sampled = given.get("do_sample", given.get("temperature", 0) > 0) and top_k != 1
        if sampled and top_k > 1:
            problems.append(f"top_k={top_k} is not supported; run with --gen_kwargs top_k=0, or set top_p")
        if problems:
            raise ConfigError(problems, name)
        until = given.get("until", ())
        return Settings(
            max_new_tokens=int(given.get("max_new_tokens", given.get("max_gen_toks", self.max_new_tokens))),
            sampling=_sampling(given, self.seed) if sampled else GREEDY,
            until=(until,) if isinstance(until, str) else tuple(until),
        )


class MM15Simple(MM15):
    """The same for ``--force_simple``: one text with pictures in front, and multiple choice by likelihood.

    Requests are (context, generation arguments, doc_to_visual, row, task, split).
    """

    is_simple = True

    def _turns(self, request: Any) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
        context, _, doc_to_visual, number, task, split = request.args
        return _user_turn(doc_to_visual(self.task_dict[task][split][number]) or [], context)

    def _arguments(self, request: Any) -> Mapping[str, Any]:
        return request.args[1]


def _sampling(given: Mapping[str, Any], seed: int) -> Sampling:
    return Sampling(float(given.get("temperature", 1.0)), float(given.get("top_p", 1.0)) or 1.0, seed)


def _user_turn(visuals: Sequence[Any], text: str) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
    pieces = [(_kind(visual), visual) for visual in visuals]
    return (("user", (*pieces, (TEXT, text))),)


def _kind(visual: Any) -> str:
    """What lmms-eval takes it for: file names that are no picture's are clips."""
    if isinstance(visual, Mapping):
        return str(visual.get("type", "video"))
    if not isinstance(visual, str) or visual.lower().endswith(PICTURES):
        return IMAGE
    return "audio" if visual.lower().endswith(SOUNDS) else "video"


def _pieces(content: str | Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    if isinstance(content, str):
        yield TEXT, content
        return
    for item in content:
        yield item["type"], item["text"] if item["type"] == TEXT else item["url"]


def _tasks(requests: Sequence[Any]) -> Iterator[str]:
    return (request.args[-2] for request in requests)
