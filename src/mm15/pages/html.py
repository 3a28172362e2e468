"""One self-contained page: escaped text, tables, folded parts, and the frame that holds them. No script, no network.

Everything that takes text escapes it; what is already markup is an ``Html`` and passes as it is. The page's content
security policy allows inline styles and ``data:`` pictures and nothing else, so even a mistake here could not load or
run anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Markup that is safe to put into a page unescaped."""


Content = str | float | None
"""What a cell or paragraph may hold: text (escaped), ``Html`` (kept), a number (formatted), or None (a dash)."""


def escape(text: str) -> str:
    """Text as page text or attribute value: markup is escaped, characters HTML cannot hold become U+FFFD."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True)


def content(value: Content) -> Html:
    """Any content as markup. Floats get one decimal, integers group their thousands."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("–")
    if isinstance(value, float):
        return Html(f"{value:,.1f}")
    return Html(f"{value:,}") if isinstance(value, int) else Html(escape(value))


def paragraph(value: Content) -> Html:
    return Html(f"<p>{content(value)}</p>")


def bullets(values: Iterable[Content]) -> Html:
    """A plain list."""
    return Html("<ul>" + "".join(f"<li>{content(value)}</li>" for value in values) + "</ul>")


def table(header: Sequence[Content], rows: Iterable[Sequence[Content]]) -> Html:
    """A table that scrolls sideways when it is too wide. Columns with a number or a dash in them stand to the right."""
    lines = [list(line) for line in rows]
    right = {column for line in lines for column, cell in enumerate(line) if not isinstance(cell, str)}

    def cells(line: Sequence[Content], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if column in right else ''}>{content(cell)}</{tag}>"
            for column, cell in enumerate(line)
        )

    marked = [cells(header, "th"), *(cells(line, "td") for line in lines)]
    body = "\n".join(f"<tr>{line}</tr>" for line in marked)
    return Html(f'<div class="wide"><table>\n{body}\n</table></div>')


def folded(summary: Content, *parts: Html, is_open: bool = False) -> Html:
    """Parts behind a line that opens and closes them."""
    return Html(
        f"<details{' open' if is_open else ''}><summary>{content(summary)}</summary>\n"
        + "\n".join(parts)
        + "\n</details>"
    )


def article(*parts: Html) -> Html:
    """Parts that belong together, apart from what stands before and after them."""
    return Html("<article>" + "\n".join(parts) + "</article>")


def row(*parts: Html) -> Html:
    """Parts side by side, wrapping where the window ends."""
    return Html('<div class="row">' + "\n".join(parts) + "</div>")


def cards(*parts: Html) -> Html:
    """Parts in equal frames, as many in a line as fit."""
    framed = "\n".join(f'<div class="card">{part}</div>' for part in parts)
    return Html(f'<div class="cards">{framed}</div>')


def facts(rows: Iterable[tuple[Content, Content]]) -> Html:
    """Names and values in small equal frames, two or more in a line on a telephone."""
    framed = "\n".join(
        f'<div class="card"><p class="quiet">{content(name)}</p><p><b>{content(value)}</b></p></div>'
        for name, value in rows
    )
    return Html(f'<div class="cards facts">{framed}</div>')


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    parts: tuple[Html, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page. ``render`` gives the one file."""

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    refresh: int = 0
    """Seconds after which a browser reads the file again; 0: never."""

    def render(self) -> str:
        """The page as one HTML string that needs nothing beside it."""
        links = " · ".join(
            f'<a href="#s{number}">{escape(section.heading)}</a>' for number, section in enumerate(self.sections)
        )
        bodies = "\n".join(
            f'<section id="s{number}"><h2>{escape(section.heading)}</h2>\n' + "\n".join(section.parts) + "\n</section>"
            for number, section in enumerate(self.sections)
        )
        again = f'<meta http-equiv="refresh" content="{self.refresh}">\n' if self.refresh else ""
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{again}<title>{escape(self.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{escape(self.title)}</h1>
<p class="quiet">{escape(self.subtitle)}</p>
<nav>{links}</nav></header>
{bodies}
</body>
</html>
"""


_STYLE = """
:root { --back: #fff; --text: #1f2328; --quiet: #636c76; --line: #d8dee4; --soft: #f6f8fa; --c0: #0969da; --c1: #bc4c00;
  --c2: #8c959f; --c3: #1a7f37; --c4: #8250df; --c5: #bf3989; --c6: #9a6700; --c7: #0a7ea4; --c8: #57606a; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --quiet: #8d96a0; --line: #30363d;
  --soft: #161b22; --c0: #58a6ff; --c1: #f0883e; --c2: #6e7681; --c3: #3fb950; --c4: #bc8cff; --c5: #f778ba;
  --c6: #d29922; --c7: #39c5cf; --c8: #b1bac4; } }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line); } p { margin: .4rem 0; }
a { color: var(--c0); text-decoration: none; } .quiet, figcaption, nav { color: var(--quiet); }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; } th.number, td.number { text-align: right; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--c0); }
.row { display: flex; flex-wrap: wrap; gap: .7rem; align-items: flex-start; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .8rem; margin: .6rem 0; }
.facts { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; }
.facts .card { padding: .4rem .7rem; }
figure { margin: .6rem 0; } figure[tabindex] { cursor: zoom-in; } figure[tabindex]:focus { outline: none;
  flex-basis: 100%; cursor: default; } figure[tabindex]:focus svg { width: 100%; max-height: 95vh; }
figcaption { font-size: .87rem; overflow-wrap: anywhere; max-width: 30rem; }
.card { padding: .7rem; border: 1px solid var(--line); border-radius: 8px; background: var(--soft); }
.card figure, .card p { margin: 0 0 .35rem; white-space: pre-line; overflow-wrap: anywhere; }
.legend span { display: inline-block; margin-right: 1.1rem; font-size: .87rem; } .legend i { display: inline-block;
  width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
svg { display: block; max-width: 100%; height: auto; } svg text { fill: var(--text); font-size: 12px; }
@media (max-width: 40rem) { figure.curves svg text { font-size: 20px; } }
svg text.quiet { fill: var(--quiet); } .grid { stroke: var(--line); stroke-width: 1; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; line-height: 1.7; }
.tokens i, .tokens b { font: inherit; border-radius: 3px; background: color-mix(in srgb, var(--line) 55%, #0000); }
.tokens b { background: color-mix(in srgb, var(--line) 20%, transparent); }
.tokens .said i { background: color-mix(in srgb, var(--c3) 38%, transparent); }
.tokens .said b { background: color-mix(in srgb, var(--c3) 22%, transparent); }
.tokens u { text-decoration: none; font-size: .8em; padding: 0 .2em; color: var(--quiet);
  border: 1px solid var(--line); border-radius: 3px; } .tokens .said u { border-color: var(--c3); color: var(--c3); }
.bad { color: var(--c1); } code { font-size: .87rem; overflow-wrap: anywhere; } pre { white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .8rem; margin: .3rem 0; }
article { border-top: 1px solid var(--line); padding: .5rem 0 1.2rem; }
.tile { stroke: #fff; stroke-width: 1; stroke-dasharray: 5 4; mix-blend-mode: difference; opacity: .8; }
"""
