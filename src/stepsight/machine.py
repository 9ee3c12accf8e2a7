"""This machine, as far as the standard library can tell: packages, processor, memory. Nothing heavy is imported.

Processor flags and memory are read from Linux's own files; elsewhere they are None.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stepsight.findings import Cpu, Machine, Memory

PACKAGES = ("stepsight", "torch", "transformers", "tokenizers", "safetensors", "pillow", "accelerate", "bitsandbytes")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16", "sve")
"""Instructions that decide how fast a model runs."""

_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
_PROC = Path("/proc")
_GROUP = Path("/sys/fs/cgroup")


def look_at_machine() -> Machine:
    """Look at the machine."""
    return Machine(
        packages={name: _version(name) for name in PACKAGES},
        python=platform.python_version(),
        system=platform.platform(terse=True),
        cpu=read_cpu(_PROC / "cpuinfo"),
        memory=look_at_memory(),
    )


def look_at_memory() -> Memory:
    """The memory of the machine, or of the container."""
    return read_memory(_PROC / "meminfo", _GROUP)


def read_cpu(path: Path) -> Cpu:
    """The processor, from a file such as Linux's /proc/cpuinfo; what the standard library knows where there is none."""
    facts: dict[str, str] = {}
    for line in _lines(path):
        key, found, value = line.partition(":")
        if found:
            facts.setdefault(key.strip(), value.strip())
    listed = facts.get("flags", facts.get("Features"))
    has = set((listed or "").split())
    return Cpu(
        name=facts.get("model name") or platform.processor() or platform.machine() or "unknown",
        cores=count_cores(),
        flags=tuple(flag for flag in FLAGS if flag in has),
        bf16=None if listed is None else bool(has & _BF16),
    )


def read_memory(meminfo: Path, group: Path) -> Memory:
    """Total and free memory, from a file such as Linux's /proc/meminfo; a container's bound counts where it is lower.

    Free is what can be had without swapping, so memory that only caches files counts as free. `group` is the folder of
    the control group (version 2).
    """
    facts = _numbers(meminfo, ":")
    total, free = (facts[name] * 1024 if name in facts else None for name in ("MemTotal", "MemAvailable"))
    bound, used = (_number(group / name) for name in ("memory.max", "memory.current"))
    if bound is not None and used is not None and total is not None and free is not None and bound < total:
        idle = _numbers(group / "memory.stat", " ").get("inactive_file", 0)
        total, free = bound, min(free, max(bound - used + idle, 0))
    return Memory(total=total, free=free)


def _numbers(path: Path, sign: str) -> dict[str, int]:
    """The lines `name<sign> number`."""
    facts = {}
    for line in _lines(path):
        name, _, value = line.partition(sign)
        words = value.split()
        if words and words[0].isdigit():
            facts[name.strip()] = int(words[0])
    return facts


def count_cores() -> int | None:
    """How many this process may use; None where nobody knows."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None
