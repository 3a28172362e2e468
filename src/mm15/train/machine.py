"""The device that trains: how fast it can multiply at best, and how much memory is used and there."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

DENSE_BF16 = {
    "b200": 2250e12,
    "b100": 1750e12,
    "h100 pcie": 756e12,
    "h100 nvl": 835e12,
    "h200": 989e12,
    "h100": 989e12,
    "h800": 989e12,
    "gh200": 989e12,
    "h20": 148e12,
    "a100": 312e12,
    "a800": 312e12,
    "l40s": 362e12,
    "a10": 125e12,
    "l4": 121e12,
}
"""FLOP/s of dense bf16 products, from the makers' data sheets (where these count sparsity: half). The first name that
occurs in the device's is taken, so longer names stand before shorter ones."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The FLOP/s that an MFU of 1 stands for, of one rank, and where the number is from."""

    flops: float
    basis: str


def peak_of(device: torch.device, dtype: torch.dtype) -> Peak:
    """What one rank could do at best: a data sheet's number for known GPUs, else the fastest product measured here."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if known := data_sheet(name):
            return Peak(known, f"dense bf16 of {name}, data sheet")
        return Peak(measured(device, dtype, 8192), f"fastest {_short(dtype)} matmul measured on {name}")
    threads = torch.get_num_threads()
    told = f"fastest {_short(dtype)} matmul measured on this CPU, {threads} thread{'s' if threads > 1 else ''} a rank"
    return Peak(_measured_on_cpu(dtype, threads), told)


def data_sheet(name: str) -> float:
    """Dense bf16 FLOP/s of a GPU by its name, 0 for unknown ones."""
    words = name.lower().replace("-", " ")
    return next((flops for known, flops in DENSE_BF16.items() if f" {known}" in f" {words}"), 0.0)


def measured(device: torch.device, dtype: torch.dtype, side: int, times: int = 8) -> float:
    """FLOP/s of the fastest of ``times`` square products. Takes no random numbers."""
    a = torch.full((side, side), 0.5, device=device, dtype=dtype)
    b = torch.full((side, side), 0.25, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(times + 1):  # the first warms up
        _wait(device)
        start = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


@functools.cache
def _measured_on_cpu(dtype: torch.dtype, threads: int) -> float:
    return measured(torch.device("cpu"), dtype, 768)


def memory(device: torch.device | None = None) -> dict[str, int]:
    """Bytes in use: ``rss`` of this process, and on CUDA the most that was ``allocated`` and ``reserved``."""
    statm = Path("/proc/self/statm")
    told = {"rss": int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")} if statm.exists() else {}
    if device is not None and device.type == "cuda":
        told["allocated"] = torch.cuda.max_memory_allocated(device)
        told["reserved"] = torch.cuda.max_memory_reserved(device)
    return told


def memory_there(device: torch.device) -> int:
    """Bytes that the device has in all; of a CPU: of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _short(dtype: torch.dtype) -> str:
    return {torch.bfloat16: "bf16", torch.float32: "fp32"}.get(dtype, str(dtype).removeprefix("torch."))
