"""Our bundles as models of VLMEvalKit, which has no plug-ins: a class, and a launcher that enters it into its table.

    python -m mm15.bridges.vlmevalkit runs/mine/bundle --data MMBench_DEV_EN --work-dir outputs

VLMEvalKit is on PyPI only as the redistribution ``ms-vlmeval``. Messages are lists of ``{"type", "value"}`` in order.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from vlmeval.config import supported_VLM  # pyright: ignore[reportMissingImports]  (no extra of ours brings it)
from vlmeval.run import main as run  # pyright: ignore[reportMissingImports]
from vlmeval.vlm.base import BaseModel  # pyright: ignore[reportMissingImports]

from mm15.bridges.answers import Question, Settings, answer, open_bundle


class MM15(BaseModel):
    """A bundle that answers greedily, one question at a time as VLMEvalKit asks. ``device`` as in ``open_bundle``."""

    INTERLEAVE = True

    def __init__(self, bundle: str, device: str = "", max_new_tokens: int = 256) -> None:
        super().__init__()
        self.bundle = open_bundle(bundle, device)
        self.settings = Settings(max_new_tokens)

    def generate_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """The answer to one message; consecutive items of one role (without: the user's) make a turn.

        Raises:
            DataError: it holds a clip, or ends with a begun answer.
        """
        turns = tuple(
            (role, tuple((item["type"], item["value"]) for item in items))
            for role, items in groupby(message, lambda item: item.get("role", "user"))
        )
        question = Question(f"{dataset or 'vlmevalkit'}/question", turns)
        return answer(self.bundle, [question], self.settings, logging.getLogger("mm15").warning)[0]


def register(bundle: str, name: str = "mm15", **options: Any) -> None:
    """Enter a bundle into VLMEvalKit's table of models under a name."""
    supported_VLM[name] = partial(MM15, bundle, **options)


def main(arguments: Sequence[str]) -> None:
    """``BUNDLE`` and then what VLMEvalKit's ``run.py`` takes, without ``--model``."""
    register(arguments[0])
    sys.argv = ["vlmeval", "--model", "mm15", *arguments[1:]]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
