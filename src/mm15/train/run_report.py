"""``report.html``: a run as one page, written anew while it goes on; and several runs in one page. Without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mm15.io.atomic import write_atomic
from mm15.pages.charts import curves
from mm15.pages.html import Content, Html, Page, Section, content, facts, folded, paragraph, table
from mm15.train.run_state import RECIPE, SHARES, History, Standing, note, standing

REPORT = "report.html"
STATES = {
    "running": "is running",
    "finished": "is finished",
    "interrupted": "was stopped and is saved",
    "failed": "ended with an error",
    "silent": "has said nothing for long: it may be gone",
}


def write_report(history: History, refresh: float = 0.0, path: Path | None = None) -> Standing:
    """Write the page of a run, atomically.

    Args:
        history: read as far as the page shall show.
        refresh: seconds after which a browser reads the file again, as long as the run goes on.
        path: default ``report.html`` in the run folder.
    """
    now = standing(history)
    again = max(1, round(refresh)) if refresh and now.state == "running" else 0
    write_atomic(path or history.folder / REPORT, page(history, now, again))
    return now


def page(history: History, now: Standing, refresh: int = 0) -> str:
    """The page of one run as HTML."""
    sections = [
        Section("Where it stands", (_standing(history, now),)),
        Section("Loss", _losses(history)),
        Section("Speed", _speed(history)),
        Section("Memory and rate", _memory(history)),
    ]
    if history.evaluations:
        sections.append(Section("Evaluations", _evaluations(history)))
    sections.append(Section("Skipped steps", (_skipped(history),)))
    if mixture := _mixture(history.folder):
        sections.append(Section("Mixture", (mixture,)))
    sections.append(Section("Going on", _going_on(history.folder, now)))
    subtitle = f"step {now.step:,} of {now.steps:,} · the run {STATES.get(now.state, now.state)}"
    return Page(f"{now.name}", tuple(sections), subtitle, refresh).render()


def overlay(histories: Sequence[History]) -> str:
    """The page of several runs: a line per run in every chart, and one row each of a table."""
    found = [standing(history) for history in histories]
    names = _distinct(found)
    header: list[Content] = [
        "run",
        "state",
        "step",
        "of",
        "loss",
        "tokens/s",
        "tiles/s",
        "MFU %",
        "data wait %",
        "hours",
    ]
    rows: list[list[Content]] = [
        [name, now.state, now.step, now.steps, _number(now.loss), _whole(now.tokens_per_second),
         now.tiles_per_second, _percent(now.mfu), _percent(now.wait), Html(f"{now.seconds / 3600:.2f}")]
        for name, now in zip(names, found, strict=True)
    ]  # fmt: skip
    sections = [Section("The runs", (table(header, rows),))]
    for heading, curve, label in (
        ("Loss", "loss", "loss"),
        ("Tokens per second", "tokens/s", "tokens/s"),
        ("MFU", "MFU %", "%"),
        ("Gradient norm", "grad_norm", "norm"),
    ):
        lines = {
            name: history.curves[curve].shown()
            for name, history in zip(names, histories, strict=True)
            if curve in history.curves
        }
        if lines:
            sections.append(Section(heading, (curves(lines, y_label=label),)))
    for group, heading in (("categories", "Loss by category"), ("sources", "Loss by source"), ("scores", "Scores")):
        told = [history.group(group) for history in histories]
        inner = []
        for member in sorted({member for members in told for member in members}):
            lines = {name: members[member] for name, members in zip(names, told, strict=True) if member in members}
            inner.append(folded(member, curves(lines, y_label=group), is_open=group == "scores"))
        if inner:
            sections.append(Section(heading, tuple(inner)))
    return Page(f"{len(histories)} runs", tuple(sections), " · ".join(names)).render()


def told(now: Standing) -> str:
    """Where a run stands, as lines of text."""
    parts = [f"step {now.step:,} of {now.steps:,}"]
    if now.loss is not None:
        parts.append(f"loss {now.loss:.3f}")
    if now.tokens_per_second is not None:
        parts.append(f"{now.tokens_per_second:,.0f} tokens/s")
    if now.tiles_per_second:
        parts.append(f"{now.tiles_per_second:,.1f} tiles/s")
    if now.mfu is not None:
        parts.append(f"MFU {now.mfu:.1%}")
    if now.wait is not None:
        parts.append(f"data wait {now.wait:.0%}")
    if now.left and now.state == "running":
        parts.append(f"{_clock(now.left)} left")
    if now.skipped:
        parts.append(f"{now.skipped} steps skipped")
    return f"{now.name} {STATES.get(now.state, now.state)}: " + " · ".join(parts)


def _standing(history: History, now: Standing) -> Html:
    machine = note(history.folder)
    rows: list[tuple[Content, Content]] = [
        ("state", now.state),
        ("steps", f"{now.step:,} of {now.steps:,}"),
        ("loss", _number(now.loss)),
        ("tokens/s", _text(now.tokens_per_second, ",.0f")),
        ("tiles/s", _text(now.tiles_per_second, ",.1f")),
        ("all-in MFU", "–" if now.mfu is None else f"{now.mfu:.1%}"),
        ("data wait", "–" if now.wait is None else f"{now.wait:.0%}"),
        ("time in steps", _clock(now.seconds)),
        ("time left", _clock(now.left) if now.left and now.state == "running" else "–"),
        ("seen", f"{history.tokens:,} tokens, {history.tiles:,} tiles, {history.samples:,} samples"),
        ("stall of saving", f"{history.stall:.1f} s in all ({history.stall / max(history.seconds, 1e-9):.1%})"),
        ("skipped steps", f"{now.skipped:,}"),
    ]
    if machine.get("device"):
        ranks = machine.get("ranks", 1)
        rows.append(("machine", f"{machine['device']}, {ranks} rank{'s' if ranks > 1 else ''}, {machine.get('dtype')}"))
    if machine.get("peak"):
        rows.append(("MFU 100 % is", f"{machine['peak'] / 1e12:,.3f} TFLOP/s: {machine.get('basis')}"))
    return facts(rows)


def _losses(history: History) -> tuple[Html, ...]:
    parts = [curves({"loss": history.curves["loss"].shown()} if "loss" in history.curves else {})]
    for group, heading in (("categories", "By category"), ("sources", "By source")):
        lines = history.group(group)
        if lines:
            parts += [Html(f"<h3>{heading}</h3>"), curves(lines)]
            last = {name: points[-1][1] for name, points in lines.items() if points}
            rows: list[list[Content]] = [[name, Html(f"{value:.3f}")] for name, value in last.items()]
            parts.append(folded("The last values", table((group, "loss"), rows)))
    return tuple(parts)


def _speed(history: History) -> tuple[Html, ...]:
    parts = [_chart(history, ("tokens/s",), "tokens/s"), _chart(history, ("tiles/s",), "tiles/s")]
    parts.append(_chart(history, ("MFU %", "data wait %"), "%"))
    if "MFU %" in history.curves:
        parts.append(
            paragraph(
                "The MFU is all-in: encoder, connector, decoder and, where there is a label, the head, over the whole "
                "time of a step with its wait for data. Embedding look-ups and recomputed activations do not count."
            )
        )
    return tuple(parts)


def _memory(history: History) -> tuple[Html, ...]:
    lines = history.group("memory")
    parts = [curves(lines, y_label="GiB of the first rank")] if lines else []
    parts += [_chart(history, ("rate",), "rate"), _chart(history, ("grad_norm",), "gradient norm")]
    if "save_stall" in history.curves:
        parts.append(_chart(history, ("save_stall",), "seconds that saving held the run up"))
    return tuple(parts)


def _chart(history: History, names: Sequence[str], label: str) -> Html:
    return curves({name: history.curves[name].shown() for name in names if name in history.curves}, y_label=label)


def _evaluations(history: History) -> tuple[Html, ...]:
    header: list[Content] = ["step"]
    names = sorted({name for record in history.evaluations for name in record["evaluation"].get("scores", {})})
    rows: list[list[Content]] = []
    for record in history.evaluations:
        scores = record["evaluation"].get("scores", {})
        rows.append([record["step"], *(_score(scores.get(name)) for name in names)])
    asked = history.evaluations[-1]["evaluation"].get("n", {})
    header += [f"{name} (n {asked[name]})" if name in asked else name for name in names]
    problems = [paragraph(record["evaluation"]["problem"]) for record in history.evaluations
                if record["evaluation"].get("problem")]  # fmt: skip
    return (curves(history.group("scores"), y_label="score"), table(header, rows), *problems[:1])


def _skipped(history: History) -> Html:
    if not history.skips:
        return paragraph("None.")
    rows: list[list[Content]] = [
        [record["step"], str(record["skipped"]), ", ".join(str(key) for key in record.get("suspects", ())[:8])]
        for record in history.skipped
    ]
    return table(("step", "why", "samples"), rows)


def _mixture(folder: Path) -> Html | None:
    path = folder / SHARES
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not rows:
        return None
    header = list(rows[0])
    return table(header, [[_cell(name, row.get(name)) for name in header] for row in rows])


def _cell(name: str, value: object) -> Content:
    if name == "share" and isinstance(value, int | float):
        return Html(f"{100 * value:.1f} %")
    return value if value is None or isinstance(value, int | float) else str(value)


def _going_on(folder: Path, now: Standing) -> tuple[Html, ...]:
    parts = [Html(f"<p>Next: <code>{content(now.next_step)}</code></p>")]
    if now.state != "finished":
        parts.append(Html(f"<p>After a stop or a kill: <code>{content(f'mm15 resume {folder}')}</code></p>"))
    kept = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
    parts.append(paragraph(f"Checkpoints: {', '.join(kept) if kept else 'none yet'}"))
    if (folder / RECIPE).is_file():
        text = (folder / RECIPE).read_text(encoding="utf-8")
        parts.append(folded("The recipe, resolved", Html(f"<pre>{content(text)}</pre>")))
    return tuple(parts)


def _distinct(found: Sequence[Standing]) -> list[str]:
    """Names of runs; with their folders where names are equal."""
    names = [now.name for now in found]
    return [f"{now.name} ({now.folder})" if names.count(now.name) > 1 else now.name for now in found]


def _number(value: float | None) -> Content:
    return None if value is None else Html(f"{value:.3f}")


def _whole(value: float | None) -> Content:
    return None if value is None else round(value)


def _percent(value: float | None) -> Content:
    return None if value is None else Html(f"{100 * value:.1f}")


def _score(value: float | None) -> Content:
    return None if value is None else Html(f"{value:.1f}")


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _clock(seconds: float) -> str:
    days, rest = divmod(round(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    return (f"{days} d " if days else "") + f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
