"""What this machine can do, what is missing, and the one-line fix."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from mm15.base.errors import ConfigError
from mm15.build._browser import find_browser
from mm15.train.machine import measured, memory_there, peak_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``ok`` is False only where something needed does not work."""

    name: str
    value: str
    ok: bool = True
    fix: str = ""


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at Python, torch, devices, memory, disk, compiler, optional packages and browser.

    Starts nothing, writes nothing; multiplies matrices for a moment.
    """
    findings = [
        Finding(
            "python",
            platform.python_version(),
            sys.version_info >= (3, 11),
            "mm15 needs Python 3.11 or newer",
        ),
        Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        Finding("device", _device()),
        Finding("bf16 on CPU", "fast" if cpu_has_fast_bf16() else "slow: fp32 is used"),
        *speed(),
        Finding("ranks", _ranks()),
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    findings.append(
        Finding("memory", f"{memory:.0f} GiB", memory >= 4, "the quickstart needs 4 GiB; close other programs")
    )
    free = shutil.disk_usage(folder).free / 2**30
    findings.append(Finding("disk", f"{free:.0f} GiB free here", free >= 2, "the quickstart needs 2 GiB of disk"))
    compiler = shutil.which("gcc") or shutil.which("clang")
    findings.append(Finding("compiler", compiler or "none (torch.compile is not used; nothing needs it)"))
    for package, extra, purpose in (
        ("pypdfium2", "pdf", "reading PDF pages"),
        ("pyarrow", "parquet", "reading .parquet and .arrow files"),
        ("zstandard", "zstd", "reading .zst files"),
        ("av", "video", "reading films and building clips"),
        ("ray", "ray", "checking and converting data on a cluster"),
        ("transformers", "dev", "parity tests"),
        ("tensorboard", "tensorboard", "train.trackers: tensorboard"),
        ("wandb", "wandb", "train.trackers: wandb"),
        ("trackio", "trackio", "train.trackers: trackio"),
    ):
        try:
            findings.append(Finding(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(package, f"not installed ({purpose}): pip install 'mm15[{extra}]'"))
    findings.append(Finding("chromium", _browser()))
    return findings


def speed() -> list[Finding]:
    """Products measured here, which an MFU is told against; of every GPU also its memory and whether it has bf16."""
    cpu = torch.device("cpu")
    found = [Finding("CPU products", f"{measured(cpu, torch.float32, 1024) / 1e9:,.0f} GFLOP/s in fp32")]
    if cpu_has_fast_bf16():
        found.append(Finding("CPU products", f"{measured(cpu, torch.bfloat16, 1024) / 1e9:,.0f} GFLOP/s in bf16"))
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if native else torch.float32
        peak = peak_of(device, dtype)
        told = (
            f"{torch.cuda.get_device_name(device)}, {memory_there(device) / 2**30:.0f} GiB, "
            f"bf16 {'yes' if native else 'no: fp32 is used'}, {measured(device, dtype, 8192) / 1e12:,.0f} TFLOP/s "
            f"measured of {peak.flops / 1e12:,.0f} ({peak.basis})"
        )
        found.append(Finding(f"GPU {number}", told))
    return found


def _ranks() -> str:
    """How many processes could train together, and over what."""
    backends = [name for name in ("nccl", "gloo") if getattr(dist, f"is_{name}_available")()]
    started = os.environ.get("WORLD_SIZE")
    most = torch.cuda.device_count() or os.cpu_count() or 1
    told = f"up to {most} on this machine, over {' or '.join(backends) or 'nothing: torch has no backend'}"
    return f"{told}; torchrun started {started}" if started else told


def cpu_has_fast_bf16() -> bool:
    """True where the CPU has bf16 arithmetic (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _browser() -> str:
    try:
        return find_browser()
    except ConfigError as error:
        return f"not usable (building screens: mm15 data build screens): {error.problems[0]}"


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return f"CPU, {os.cpu_count()} cores"
