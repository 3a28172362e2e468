"""What pages are made of: texts, typefaces, photographs, drawings and icons of one side, in one page's colours."""

from __future__ import annotations

import base64
import html
import io
import random
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from mm15.build.canvas import photo_crop, with_article
from mm15.build.interleaved import first_sentences
from mm15.build.materials import Materials, Split

SIZES = ((320, 568), (360, 640), (360, 720), (375, 667), (390, 844), (412, 732), (412, 915))
"""Width and height of windows, in CSS pixels, of common telephones."""
ACCENTS = ("#0a66c2", "#b3261e", "#1b7f4d", "#6750a4", "#c2570c", "#00687a", "#a1195b", "#3f51b5")


@dataclass(frozen=True)
class Kit:
    """What pages are made of: materials of one side, and the page's own random numbers."""

    materials: Materials
    split: Split
    rng: random.Random
    icons: dict[str, str]

    @cached_property
    def words(self) -> list[str]:
        return self.materials.words(self.split)

    def icon(self, name: str) -> str:
        """A named drawing; the name is its label."""
        return self.icons[name].replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)

    def mark(self, name: str, does: str, more: str = "") -> str:
        """A button that shows an icon only."""
        return f'<button class="mark {more}" aria-label="{html.escape(does)}">{self.icon(name)}</button>'

    def title(self, low: int = 1, high: int = 3) -> str:
        """A few words, the first with a capital."""
        return " ".join(self.rng.sample(self.words, self.rng.randint(low, high))).capitalize()

    def prose(self, limit: int) -> str:
        return html.escape(first_sentences(self.rng.choice(self.materials.paragraphs(self.split)), limit))

    def photo(self, width: int, height: int, look: str, about: str = "photo") -> str:
        picture = photo_crop(self.materials.photos(self.split), width, height, self.rng)
        return f'<img class="{look}" alt="{about}" src="{_data(picture, "JPEG")}">'

    def thing(self, name: str, look: str) -> str:
        """A drawing of a named object."""
        picture = self.rng.choice(self.materials.pictures(name, self.split))
        return f'<img class="{look}" alt="{with_article(name)}" src="{_data(picture, "PNG")}">'

    def header(self, title: str, back: str = "back", *marks: str) -> str:
        first = self.mark("back", "go back") if back == "back" else self.mark("menu", "open the menu")
        return f"<header>{first}<h1>{html.escape(title)}</h1>{''.join(marks)}</header>"

    def bar(self) -> str:
        """A row of destinations at the lower edge."""
        picked = self.rng.sample(["home", "search", "favorite", "profile", "cart", "message", "calendar"], 4)
        return f'<nav class="bar">{"".join(self.mark(name, f"go to {name}") for name in picked)}</nav>'

    def control(self, label: str) -> str:
        """What a setting is changed with."""
        kind = self.rng.choice(("switch", "switch", "switch", "range", "select", "value"))
        named = f'aria-label="{html.escape(label.lower())}"'
        if kind == "switch":
            return f'<input type="checkbox" role="switch" {self.on()} aria-label="switch {html.escape(label.lower())}">'
        if kind == "range":
            return f'<input type="range" value="{self.rng.randint(10, 90)}" {named}>'
        if kind == "select":
            words = self.rng.sample(self.words, 3)
            return f'<select class="drop" {named}>{"".join(f"<option>{word.capitalize()}" for word in words)}</select>'
        return f'<span class="muted">{self.rng.choice(self.words)}</span>'

    def on(self) -> str:
        return self.rng.choice(("checked", ""))


def theme(materials: Materials, split: Split, rng: random.Random) -> str:
    """The style sheet with the page's colours, sizes and typeface; the face travels in the page."""
    font = rng.choice(materials.fonts(split))
    accent, dark = rng.choice(ACCENTS), rng.random() < 0.3
    colors = (
        {"bg": "#121417", "fg": "#eceff1", "card": "#1d2126", "line": "#353b42", "muted": "#a9b2bb", "off": "#59626b"}
        if dark
        else {
            "bg": "#f4f5f7",
            "fg": "#1b1f23",
            "card": "#ffffff",
            "line": "#d9dde2",
            "muted": "#5c6670",
            "off": "#a7b0b9",
        }
    )
    if dark:
        accent = {"#0a66c2": "#6db3ff", "#b3261e": "#ff8a80"}.get(accent, "#7fd1ae")
    on_accent = "#101010" if dark else "#ffffff"
    bar, on_bar = rng.choice(((accent, on_accent), (colors["card"], colors["fg"])))
    colors |= {"accent": accent, "on-accent": on_accent, "bar": bar, "on-bar": on_bar}
    colors |= {"radius": f"{rng.choice((2, 6, 10, 16))}px", "gap": f"{rng.choice((10, 14, 18))}px"}
    colors |= {"size": f"{rng.choice((14, 15, 16, 17))}px"}
    face = base64.b64encode(font.read_bytes()).decode()
    rules = f'@font-face {{ font-family: Face; src: url("data:font/otf;base64,{face}"); }}\n'
    rules += ":root {" + " ".join(f"--{name}: {value};" for name, value in colors.items()) + "}\n"
    return rules + (materials.root / "screens" / "style.css").read_text(encoding="utf-8")


def _data(picture: Image.Image, format: str) -> str:
    file = io.BytesIO()
    picture.save(file, format, quality=90)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
