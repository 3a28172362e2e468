"""Tokens as coloured text: what the model reads, what it learns to say, and where pictures stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from mm15.pages.html import Html, escape


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text as the tokenizer cut it.

    ``marker``: not text but a special token or a folded run of them, shown by its name.
    """

    text: str
    trained: bool = False
    marker: bool = False


def coloured(tokens: Iterable[Token], left_out: str = "") -> Html:
    """Tokens in order, each with its own ground; those that are trained in another colour.

    Args:
        left_out: said at the end, where tokens are left out.
    """
    parts = []
    for trained, run in groupby(tokens, attrgetter("trained")):
        inner = "".join(_token(token, number) for number, token in enumerate(run))
        parts.append(f'<span class="said">{inner}</span>' if trained else inner)
    end = f' <span class="quiet">{escape(left_out)}</span>' if left_out else ""
    return Html(f'<div class="tokens">{"".join(parts)}{end}</div>')


def _token(token: Token, number: int) -> str:
    if token.marker:
        return f"<u>{escape(token.text)}</u>"
    tag = "bi"[number % 2]
    return f"<{tag}>{escape(token.text).replace(chr(10), '↵' + chr(10))}</{tag}>"
