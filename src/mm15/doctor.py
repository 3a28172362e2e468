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

from mm15.base.errors import ConfigError
from mm15.build._browser import find_browser


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``ok`` is False only where something needed does not work."""

    name: str
    value: str
    ok: bool = True
    fix: str = ""


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at Python, torch, devices, memory, disk, compiler, optional packages and browser.

    Starts nothing, writes nothing.
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
    ):
        try:
            findings.append(Finding(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(package, f"not installed ({purpose}): pip install 'mm15[{extra}]'"))
    findings.append(Finding("chromium", _browser()))
    return findings


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
