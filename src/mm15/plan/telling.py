"""A plan in words and tables."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby

from mm15.plan.planning import GIB, Plan

UNITS = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(number: float) -> str:
    """Three digits and a prefix: 419430400000 → 419G."""
    for size, prefix in UNITS:
        if abs(number) >= size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.3g}"


def text_of(plan: Plan) -> str:
    """The whole plan."""
    total = plan.training + plan.again
    lines = [
        f"{plan.recipe} on {plan.hardware} ({plan.parallel})",
        f"workload   {plan.steps:,} steps, {plan.packs:,} packs, {short(plan.samples)} samples "
        f"({plan.samples_per_step:,.0f} a step), "
        f"{short(plan.tokens)} tokens, {short(plan.tiles)} tiles, {short(plan.targets)} targets",
        f"           from {plan.origin}",
        f"packs      {plan.fill[0]:.1%} of their tokens and {plan.fill[1]:.1%} of their tiles are used; largest: "
        f"number "
        f"{plan.largest.number} with {plan.largest.tokens:,} tokens, {plan.largest.tiles} tiles, "
        f"{plan.largest.samples} samples",
        f"FLOPs      {short(plan.training)}, forward and backward: "
        + ", ".join(f"{name} {3 * value / plan.training:.1%}" for name, value in plan.work.items())
        + (f"; {short(plan.again)} again for checkpointing" if plan.again else ""),
        "memory     "
        + ", ".join(f"{name} {value / GIB:.2f}" for name, value in asdict(plan.memory).items())
        + f" GiB a rank; {plan.memory.total / GIB:.1f} of {plan.memory_limit / GIB:.0f} that may be filled",
        f"time       {plan.step_seconds:.3f} s a step, {plan.hours:,.1f} h, {plan.device_hours:,.0f} device hours "
        f"at {plan.rate}",
        f"           ranks differ by {plan.imbalance - 1:.1%} in what they do; operations a second over all: "
        f"{short(total / max(plan.hours * 3600, 1e-9))}",
        f"cost       {plan.cost:,.0f} USD, {plan.kwh:,.0f} kWh for the devices alone",
    ]
    if not plan.fits:
        fix = f"this fits: {plan.fix}" if plan.fix else "nothing that was tried fits; take more or larger devices"
        lines.append(f"WARNING    it will not fit. {fix}")
    lines += ["", f"{'category':<14} {'share':>7} {'draws':>10} {'rows':>10} {'epochs':>8}"]
    ordered = sorted(plan.shares, key=lambda row: str(row.category))
    for category, group in groupby(ordered, key=lambda row: str(row.category)):
        rows = list(group)
        share, draws, size = (sum(getattr(row, name) for row in rows) for name in ("share", "draws", "size"))
        lines.append(f"{category:<14} {share:>7.1%} {short(draws):>10} {short(size):>10} {draws / max(size, 1):>8.2f}")
    return "\n".join(lines)
