"""Whose terms a folder of weights comes under, as far as the folder itself tells. A note for people, not advice."""

from __future__ import annotations

import re
from pathlib import Path

READ = 100_000
"""Bytes of a card that are looked at."""


def licence_note(folder: str | Path) -> str:
    """One line: the ``license`` of the card's front matter and the licence files, or that there is neither."""
    folder = Path(folder)
    card = folder / "README.md"
    text = card.read_bytes()[:READ].decode(errors="replace") if card.is_file() else ""
    front = re.match(r"\A---\n(.*?)\n---", text, re.DOTALL)
    stated = re.findall(r"^license(?:_name|_link)?:\s*(\S.*)$", front[1], re.MULTILINE) if front else []
    files = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if re.match(r"(?i)(licen[cs]e|notice)", path.name)
    )
    told = ([f"the card says {', '.join(stated)}"] if stated else []) + ([f"see {', '.join(files)}"] if files else [])
    if not told:
        return (
            f"{folder.name}: the folder states no licence; look at where it came from before you share what you train"
        )
    return f"{folder.name}: {'; '.join(told)}"
