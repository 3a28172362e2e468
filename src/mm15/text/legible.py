"""Whether characters can be trusted as the text of a page, and whether a text can stand in a row of data."""

from __future__ import annotations

import re
import unicodedata

SOFT_HYPHENS = "\x02￾"
"""What pdfium reports for a hyphen that only breaks a line."""
MARKERS = re.compile(r"<\|?image|<video|</?(?:bbox|doc|md|ocr)\b|<bbox_location", re.I)
"""What formats would take for a placeholder."""


def unusable(text: str) -> str | None:
    """Why a text layer cannot be trusted, or None: control characters, too little text, letters that spell nothing."""
    visible = [char for char in text if not char.isspace() and char not in SOFT_HYPHENS]
    broken = sum(unicodedata.category(char) in ("Cc", "Co", "Cn") or char == "\ufffd" for char in visible)
    if broken > 0.02 * len(visible):
        return "control characters"
    words = re.findall("[a-z]{3,}", text.lower())
    if len(words) < 8 or sum(map(len, words)) < 0.3 * len(visible):
        return "too little text"
    if sum(any(vowel in word for vowel in "aeiouy") for word in words) < 0.6 * len(words):
        return "letters spell nothing"
    return None


def sayable(text: str) -> bool:
    """Whether a line can stand in a row: not empty, printable, and nothing that formats take for a placeholder."""
    return bool(text) and text.isprintable() and not MARKERS.search(text)
