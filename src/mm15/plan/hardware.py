"""Devices and clusters of them: ``64xH200``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field, PositiveFloat

from mm15.base.catalogue import did_you_mean
from mm15.base.config import Strict, read_yaml, validate
from mm15.base.errors import ConfigError

FILE = Path(__file__).with_name("hardware.yaml")
NODE = 8
"""Devices of a node, whose links are the fast ones."""


class Device(Strict):
    """One device, by its maker's data sheet; ``mfu`` and ``price`` are assumed (``hardware.yaml``)."""

    bf16_tflops: PositiveFloat
    """Dense bf16 peak, 10¹² operations per second; a multiply-add is two."""
    memory_gib: PositiveFloat
    memory_gbs: PositiveFloat
    """Memory bandwidth, 10⁹ bytes per second."""
    link_gbs: PositiveFloat
    """Between devices of a node, one direction, 10⁹ bytes per second."""
    network_gbs: PositiveFloat
    """Of one device's share of the network between nodes, 10⁹ bytes per second."""
    watts: PositiveFloat
    mfu: float = Field(gt=0, le=1)
    """Share of the peak that useful operations are assumed to reach."""
    price: float = Field(ge=0)
    """USD an hour."""


class Devices(Strict):
    """The table."""

    devices: dict[str, Device]


@dataclass(frozen=True, slots=True)
class Cluster:
    """So many devices of one kind, a rank each."""

    name: str
    count: int
    device: Device

    @property
    def told(self) -> str:
        return f"{self.count}x{self.name}"


@cache
def devices() -> dict[str, Device]:
    """The devices that ship with the package."""
    return validate(Devices, read_yaml(FILE), where=FILE.name).devices


def cluster_of(told: str) -> Cluster:
    """``64xH200``, ``H100`` (one of them), ``2xcpu``.

    Raises:
        ConfigError: no such device (with the nearest name), or no number in front of it.
    """
    known = {name.lower(): name for name in devices()}
    found = re.fullmatch(r"(?:(\d+)\s*[x×*]\s*)?([A-Za-z][\w-]*)", told.strip())
    if not found or int(found[1] or 1) < 1:
        raise ConfigError([f"'{told}' is no hardware; expected COUNTxDEVICE, such as 64xH200"], "--hardware")
    if found[2].lower() not in known:
        hint = did_you_mean(found[2], known.values())
        raise ConfigError([f"unknown device '{found[2]}'{hint}; known: {', '.join(known.values())}"], "--hardware")
    name = known[found[2].lower()]
    return Cluster(name, int(found[1] or 1), devices()[name])
