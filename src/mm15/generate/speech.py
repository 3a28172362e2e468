"""Tokens as they come → text as it may be shown: whole characters only, and never a part of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Speech:
    """The text of one answer.

    What is shown is never taken back: a character whose bytes are not complete yet is held back, and so is an ending
    that may turn into a stop string. Only where bytes that are no text spoil characters that were already given
    (byte-fallback decoders replace the whole run) do the pieces stop short of the text.

    Args:
        decode: token ids → text.
        stops: the answer ends before the first of these.
        shows: whether pieces are wanted; without stop strings nothing is decoded before the end otherwise.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = (), shows: bool = True) -> None:
        self.decode, self.stops, self.shows = decode, tuple(stops), shows
        self.ids: list[int] = []
        self.shown = ""
        self.text: str | None = None

    def hear(self, token: int) -> tuple[str, bool]:
        """One more token: what may be shown now, and whether a stop string is complete."""
        self.ids.append(token)
        if not (self.shows or self.stops):
            return "", False
        whole = self.decode(self.ids).rstrip("\ufffd")
        if found := [place for stop in self.stops if (place := whole.find(stop)) >= 0]:
            self.text = whole[: min(found)]
            return self._show(self.text), True
        return self._show(whole[: len(whole) - self._held(whole)]), False

    def end(self) -> str:
        """What is left to show when no token follows. ``text`` is whole then."""
        if self.text is None:
            self.text = self.decode(self.ids)
        return self._show(self.text)

    def _held(self, whole: str) -> int:
        """Characters at the end that a stop string may begin with."""
        longest = max((len(stop) - 1 for stop in self.stops), default=0)
        for length in range(min(longest, len(whole)), 0, -1):
            if any(stop.startswith(whole[-length:]) for stop in self.stops):
                return length
        return 0

    def _show(self, text: str) -> str:
        if not (self.shows and len(text) > len(self.shown) and text.startswith(self.shown)):
            return ""
        piece, self.shown = text[len(self.shown) :], text
        return piece
