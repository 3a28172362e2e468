"""Rows to look at, on one self-contained page: pictures with regions and tiles, tokens by what is trained, addresses.

What is shown went through the processor, so it is what training would see. Rows are drawn by seed and shown in the
order of the file; those that cannot be used are shown with their reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mm15.base.batch import IGNORE, EncodedSample
from mm15.base.errors import ConfigError, SkipSample
from mm15.base.rng import numpy_rng
from mm15.base.types import ImagePart, Message, RegionPart, Sample, TextPart, VideoPart
from mm15.data.source import Source
from mm15.data.view_pictures import MOST_PICTURES, SHOWN_FRAMES, clips_of, sample_pictures, size_of
from mm15.images.split import WHOLE, tile_layout
from mm15.pages.html import Html, Page, Section, article, content, folded, paragraph
from mm15.pages.tokens import Token, coloured
from mm15.processor import Processor

PAGE_BYTES = 12 << 20
"""Pictures of a page are shrunk so that they take no more than this, text is cut."""
MOST_TOKENS = 2500
"""Tokens of a row that are shown, a folded picture counted as one."""
TOKEN_BYTES = 24
"""About what a token takes in the page."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample on the page; ``reason`` says why it cannot be used, empty where it can."""

    source: str
    address: str
    reason: str = ""


def choose(sources: Sequence[Source], count: int, seed: int = 0, named: Sequence[str] = ()) -> list[tuple[Source, int]]:
    """Which samples to look at: ``count`` in all, spread evenly over the sources, at least one of each.

    Args:
        named: instead, these: a sample number or the address of a row, as ``check`` and this page give it.

    Raises:
        ConfigError: a named row is in none of the sources.
    """
    if named:
        return [found for name in named for found in _find(sources, name)]
    lengths = [len(source) for source in sources]
    quotas = [min(length, 1) for length in lengths]
    while sum(quotas) < min(count, sum(lengths)):
        open_ones = [n for n, length in enumerate(lengths) if quotas[n] < length]
        for n in sorted(open_ones, key=lambda n: (quotas[n], n))[: count - sum(quotas)]:
            quotas[n] += 1
    chosen = []
    for source, length, quota in zip(sources, lengths, quotas, strict=True):
        drawn = numpy_rng(seed, "view", source.name).choice(length, quota, replace=False) if quota else []
        chosen += [(source, int(index)) for index in sorted(drawn)]
    return chosen


def _find(sources: Sequence[Source], name: str) -> list[tuple[Source, int]]:
    for source in sources:
        if name.isdecimal():
            if int(name) < len(source):
                return [(source, int(name))]
            continue
        addresses = ((n, source.address(n)) for n in range(len(source)))
        # The address of a row of several samples stands for all of them.
        found = [(source, n) for n, at in addresses if at == name or (source.many and at.rpartition("/")[0] == name)]
        if found:
            return found
    raise ConfigError([f"no row '{name}' in {', '.join(source.name for source in sources)}"], "--row")


def view_page(
    sources: Sequence[Source],
    processor: Processor,
    count: int = 12,
    seed: int = 0,
    title: str = "Rows",
    told: str = "",
    named: Sequence[str] = (),
) -> tuple[str, list[Seen]]:
    """The page, and what is on it.

    Args:
        count, seed, named: see ``choose``.
        told: what tokens and tiles are here, in words.

    Raises:
        ConfigError: a named row is in none of the sources.
    """
    chosen = choose(sources, count, seed, named)
    pictures = sum(_count_pictures(source, index) for source, index in chosen)
    # Each picture comes with its tiles, and base64 makes four bytes of three.
    budget = PAGE_BYTES * 3 // 4 // max(1, 2 * pictures)
    tokens = min(MOST_TOKENS, PAGE_BYTES // TOKEN_BYTES // max(1, 2 * len(chosen)))
    seen: list[Seen] = []
    sections = []
    for source in sources:
        own = []
        for index in [index for one, index in chosen if one is source]:
            shown, reason = _article(source, index, processor, budget, tokens)
            own.append(shown)
            seen.append(Seen(source.name, source.address(index), reason))
        if own:
            config = source.config
            about = f"{config.format}, {config.category}: {len(own)} of {len(source):,} samples of {source.path}"
            sections.append(Section(source.name, (paragraph(about), *own)))
    legend = Html(
        '<div class="tokens">Tokens: <span class="said"><i>learnt to be said</i></span> · <i>only read</i> · '
        "<u>special, or a tile</u>. Broken lines on a picture are the borders of its tiles; regions in turns that are "
        "not trained are broken too. Click on a picture to see it larger.</div>"
    )
    sections = sections or [Section("Nothing", (paragraph("There are no samples."),))]
    sections[0] = Section(sections[0].heading, (legend, *sections[0].parts))
    return Page(title, tuple(sections), told).render(), seen


def _count_pictures(source: Source, index: int) -> int:
    try:
        sample = source.sample(index)
        return min(len(sample.images) + SHOWN_FRAMES * len(clips_of(sample)), MOST_PICTURES)
    except SkipSample:
        return 0


def _article(source: Source, index: int, processor: Processor, budget: int, most_tokens: int) -> tuple[Html, str]:
    """One sample, as far as it can be read and encoded, and why not further."""
    raw = sample = encoded = None
    reason = ""
    try:
        raw = source.row(index)
        sample = source.sample(index)
        encoded = processor.encode(sample)
    except SkipSample as skip:
        reason = skip.reason
    facts = [str(source.config.category)]
    if encoded is not None:
        labels = int((encoded.labels_T != IGNORE).sum())
        facts += [
            f"{encoded.num_tokens} tokens",
            f"{labels} supervised",
            f"{encoded.num_tiles} tile{'' if encoded.num_tiles == 1 else 's'}",
        ]
    if sample is not None and (dropped := sample.meta.get("dropped_images")):
        facts.append(f"pictures that are not there and were left out: {dropped}")
    parts = [Html(f"<p><code>{content(source.address(index))}</code></p>")]
    parts.append(Html(f'<p class="quiet">{content(" · ".join(facts))}</p>'))
    if reason:
        parts.append(Html(f'<p class="bad">cannot be used: {content(reason)}</p>'))
    sizes = [size_of(image) for image in sample.images] if sample else []
    if sample is not None:
        parts += sample_pictures(sample, sizes, encoded, processor, budget)
    if sample is not None and encoded is None:
        parts += [paragraph(f"{message.role}: {_words(message)}") for message in sample.messages]
    if sample is not None and encoded is not None:
        parts.append(coloured(*_shown_tokens(encoded, processor, _tile_names(sample, sizes, processor), most_tokens)))
    if raw is not None:
        parts.append(folded("the row as it stands", Html(f"<pre>{content(_as_json(raw))}</pre>")))
    return article(*parts), reason


def _words(message: Message) -> str:
    """What a turn says, media and regions by name."""
    named = {ImagePart: "[picture]", VideoPart: "[clip]", RegionPart: "[region]"}
    return "".join(part.text if isinstance(part, TextPart) else named[type(part)] for part in message.parts)


def _tile_names(sample: Sample, sizes: Sequence[tuple[int, int]], processor: Processor) -> list[str]:
    """What every tile of the sample is, in the order of the tokens."""
    names = []
    left, clips = iter(enumerate(sizes)), 0
    for part in [part for message in sample.messages for part in message.parts]:
        if isinstance(part, VideoPart):
            names += [f"clip {clips}, frame {frame}" for frame in range(part.frames)]
            clips += 1
        elif isinstance(part, ImagePart):
            number, (width, height) = next(left)
            slots = tile_layout(height, width, processor.config.split, len(sizes))
            for slot in slots:
                place = f", tile {slot.row},{slot.col}" if slot != WHOLE else ", whole" if len(slots) > 1 else ""
                names.append(f"picture {number}{place}")
    return names


def _shown_tokens(
    encoded: EncodedSample, processor: Processor, tile_names: list[str], most: int
) -> tuple[list[Token], str]:
    """The tokens of a sample, tiles folded, cut after ``most``; and what is said of the rest."""
    ids = encoded.tokens_T.tolist()
    trained = [False, *(label != IGNORE for label in encoded.labels_T.tolist()[:-1])]
    tokens: list[Token] = []
    for end, token in _pieces(ids, trained, processor, tile_names):
        tokens.append(token)
        if len(tokens) >= most and end < len(ids):
            return tokens, f"… and {len(ids) - end:,} more tokens, {sum(trained[end:]):,} of them supervised"
    return tokens, ""


def _pieces(
    ids: list[int], trained: list[bool], processor: Processor, tile_names: list[str]
) -> Iterator[tuple[int, Token]]:
    """(end, token): special tokens by name, runs of a picture by its tiles, text as the tokenizer cut it.

    Tokens that are only part of a character are put together until they are one.
    """
    names = {index: name for name, index in processor.tokenizer.specials.items()}
    per_tile, tiles, position = processor.tokens_per_tile, 0, 0
    before: list[int] = []
    while position < len(ids):
        start = position
        if ids[start] == processor.image_token:
            while position < len(ids) and ids[position] == processor.image_token:
                position += 1
            run = tile_names[tiles : tiles + (position - start) // per_tile]
            tiles += len(run)
            shown = run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}"
            yield position, Token(f"{shown} · {position - start} tokens", marker=True)
            before = []
        elif ids[start] in names:
            position += 1
            yield position, Token(names[ids[start]], trained[start], marker=True)
            before = []
        else:
            # Decoded after what stands before it: many tokenizers drop a leading space at the start of a text.
            known = processor.tokenizer.decode(before, skip_special=False)
            text = ""
            while position < len(ids) and ids[position] not in names and position - start < 8:
                position += 1
                text = processor.tokenizer.decode([*before, *ids[start:position]], skip_special=False)[len(known) :]
                if text and "\ufffd" not in text:
                    break
            yield position, Token(text, trained[start])
            before = ids[start:position]


def _as_json(value: dict[str, Any], most: int = 3000) -> str:
    """A row as JSON to read; media by address or length, cut where it is long."""

    def told(other: object) -> str:
        return f"<{len(other)} bytes>" if isinstance(other, bytes) else str(other)

    text = json.dumps(value, ensure_ascii=False, indent=1, default=told)
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
