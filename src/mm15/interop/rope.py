"""Rotary positions in config.json: ``rope_parameters`` (transformers 5), or ``rope_theta`` and ``rope_scaling``."""

from __future__ import annotations

import math
from typing import Any

from mm15.interop.fields import Fields
from mm15.model.sizes import DecoderConfig, RopeScaling

SUPPORTED = ("default", "linear", "llama3", "yarn")


def read_rope(fields: Fields, theta: float = 10_000.0) -> tuple[float, RopeScaling | None]:
    """Base and stretching. What is not supported becomes a problem of ``fields``.

    Args:
        theta: the family's base where the file states none.
    """
    rope = {**(fields.raw.get("rope_scaling") or {}), **(fields.raw.get("rope_parameters") or {})}
    stated = rope.get("rope_theta", fields.raw.get("rope_theta"))
    inner = Fields({"rope_theta": stated, **rope}, "rope")
    base = inner.number("rope_theta", theta)
    partial = rope.get("partial_rotary_factor", fields.raw.get("partial_rotary_factor"))
    if partial not in (None, 1, 1.0):
        inner.problems.append(f"partial_rotary_factor: {partial} is not supported: every component turns here")
    kind = rope.get("rope_type", rope.get("type", "default"))
    scaling = None
    if kind not in SUPPORTED:
        inner.problems.append(f"rope_type: {kind!r} is not supported; supported: {', '.join(SUPPORTED)}")
    elif kind != "default":
        scaling = _scaling(kind, inner, fields.raw.get("max_position_embeddings"))
    fields.problems += [f"rope: {problem}" for problem in inner.problems]
    return base, None if inner.problems else scaling


def _scaling(kind: str, rope: Fields, longest: Any) -> RopeScaling | None:
    values: dict[str, Any] = {"kind": kind, "factor": rope.number("factor")}
    if kind != "linear":
        values["original_positions"] = rope.integer("original_max_position_embeddings", longest)
    if kind == "llama3":
        values |= {name: rope.number(name) for name in ("low_freq_factor", "high_freq_factor")}
        if not rope.problems and values["high_freq_factor"] <= values["low_freq_factor"]:
            rope.problems.append("high_freq_factor must be larger than low_freq_factor")
    if kind == "yarn":
        values |= {"beta_fast": rope.number("beta_fast", 32.0), "beta_slow": rope.number("beta_slow", 1.0)}
        values["truncate"] = rope.flag("truncate", True)
        values["attention_factor"] = rope.number("attention_factor", _yarn_factor(values["factor"], rope))
    return None if rope.problems else RopeScaling(**values)


def _yarn_factor(factor: float, rope: Fields) -> float:
    """The factor of cos and sin that YaRN suggests (arXiv 2309.00071, section 3.4)."""

    def scale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    above, below = rope.raw.get("mscale"), rope.raw.get("mscale_all_dim")
    return scale(above) / scale(below) if above and below else scale(1.0)


def write_rope(config: DecoderConfig) -> dict[str, Any]:
    """The value of ``rope_parameters``."""
    scaling = config.rope_scaling
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if scaling is None:
        return rope
    rope |= {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        rope["original_max_position_embeddings"] = scaling.original_positions
    if scaling.kind == "llama3":
        rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        rope |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow, "truncate": scaling.truncate}
        rope["attention_factor"] = scaling.attention_factor
    return rope
