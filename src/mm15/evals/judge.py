"""A language model that gives scores: one interface, any OpenAI-compatible endpoint, every reply recorded.

Scores of another judge, or another version of one, are not comparable; its name stands beside every judged score.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mm15.base.errors import DataError
from mm15.io.jsonl import read_jsonl

Messages = Sequence[Mapping[str, str]]
"""A conversation for the judge: ``{"role", "content"}`` turns."""
TRIES = 4


class Judge(Protocol):
    """Answers a conversation with text."""

    @property
    def name(self) -> str:
        """Model and version, as stated on the report."""
        ...

    def ask(self, messages: Messages) -> str:
        """The reply.

        Raises:
            DataError: there is none; the message says what to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server. Asked at temperature 0.

    Args:
        url: up to and with ``/v1``.
        name: the model, with its version.
        key: sent as the bearer token; empty sends none.
        timeout: seconds for one reply.
    """

    url: str
    name: str
    key: str = ""
    timeout: float = 120.0

    def ask(self, messages: Messages) -> str:
        """The reply, after a few tries where the server is busy or away."""
        asked = {"model": self.name, "messages": [dict(turn) for turn in messages], "temperature": 0}
        head = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(asked).encode(), head, method="POST"
        )
        for attempt in range(TRIES):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return str(json.load(reply)["choices"][0]["message"]["content"])
            except urllib.error.HTTPError as error:
                if error.code not in (408, 429, 500, 502, 503, 504) or attempt == TRIES - 1:
                    raise DataError(f"judge {self.name} at {self.url}: HTTP {error.code} {error.reason}") from error
            except (urllib.error.URLError, TimeoutError) as error:
                if attempt == TRIES - 1:
                    raise DataError(f"judge {self.name} at {self.url} does not answer: {error}") from error
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise DataError(f"judge {self.name} at {self.url} replied with no message: {error}") from error
            time.sleep(2**attempt)
        raise AssertionError("the last try returns or raises")


class Recorded:
    """Replies kept in a file, asked again nowhere: an interrupted judging goes on, a finished one is replayed.

    Args:
        path: JSON lines, appended to as replies come in.
        judge: asked for what is not in the file; None: nothing is asked.
        name: of the judge whose replies the file holds, where ``judge`` is None.

    Raises:
        DataError: the file holds replies of another judge.
    """

    def __init__(self, path: str | Path, judge: Judge | None = None, name: str = "") -> None:
        self.path = Path(path)
        self.judge = judge
        self._replies: dict[str, str] = {}
        names = set()
        if self.path.is_file():
            for _, row in read_jsonl(self.path):
                self._replies[row["key"]] = row["reply"]
                names.add(row["judge"])
        wanted = judge.name if judge else name
        if len(names | ({wanted} if wanted else set())) > 1:
            raise DataError(f"{self.path} holds replies of {', '.join(sorted(names))}, asked is {wanted}; use another")
        self._name = wanted or next(iter(names), "no judge")

    @property
    def name(self) -> str:
        """Of the judge whose replies these are."""
        return self._name

    def ask(self, messages: Messages) -> str:
        """The kept reply, or a new one that is kept before it is returned."""
        key = hashlib.sha256(json.dumps([dict(turn) for turn in messages], sort_keys=True).encode()).hexdigest()
        if key in self._replies:
            return self._replies[key]
        if self.judge is None:
            raise DataError(
                f"{self.path} holds no reply to this question; name a judge (--judge URL --judge-model NAME)"
            )
        reply = self.judge.ask(messages)
        row = {"key": key, "judge": self.name, "reply": reply, "messages": [dict(turn) for turn in messages]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._replies[key] = reply
        return reply
