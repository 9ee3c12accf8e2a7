"""Devices that a plan can be made for: how much memory they have and how fast they are at their best."""

from __future__ import annotations

import torch

from stepsight.errors import InputError
from stepsight.machine import look_at_memory
from stepsight.training.plan.records import Target

_MIB = 2**20

DEVICES: dict[str, tuple[str, int, float | None, float]] = {
    "a100": ("NVIDIA A100 80 GB", 81920 * _MIB, 312e12, 19.5e12),
    "a100-40": ("NVIDIA A100 40 GB", 40960 * _MIB, 312e12, 19.5e12),
    "a6000": ("NVIDIA RTX A6000 48 GB", 49140 * _MIB, 154.8e12, 38.7e12),
    "b200": ("NVIDIA B200 180 GB", 183359 * _MIB, 2250e12, 75e12),
    "h100": ("NVIDIA H100 SXM 80 GB", 81559 * _MIB, 989e12, 67e12),
    "h200": ("NVIDIA H200 SXM 141 GB", 143771 * _MIB, 989e12, 67e12),
    "l4": ("NVIDIA L4 24 GB", 23034 * _MIB, 121e12, 30.3e12),
    "l40s": ("NVIDIA L40S 48 GB", 46068 * _MIB, 362e12, 91.6e12),
    "rtx4090": ("NVIDIA GeForce RTX 4090 24 GB", 24564 * _MIB, 165.2e12, 82.6e12),
    "t4": ("NVIDIA T4 16 GB", 15360 * _MIB, None, 8.1e12),
}
"""By key: name; memory in bytes as the driver reports it; operations a second in bfloat16 on dense matrices, None where
the device has none; and in float32. From the makers' data sheets, without sparsity and without TF32."""

CPU = "cpu"


def target_for(name: str, *, bf16: bool) -> Target:
    """A device by its key, or this machine.

    Args:
        name: a key of `DEVICES`, or `cpu`.
        bf16: whether matrices are multiplied in bfloat16.

    Raises:
        InputError: no device has that key.
    """
    if name == CPU:
        return Target(name=CPU, title="this machine's processor", memory=look_at_memory().total, peak=None)
    if name not in DEVICES:
        raise InputError(f"no device is called {name}", hint=f"known are {CPU}, {', '.join(DEVICES)}")
    title, memory, brief, single = DEVICES[name]
    return Target(name=name, title=title, memory=memory, peak=brief if bf16 else single)


def has_bf16(name: str) -> bool:
    """Whether a device multiplies bfloat16 in hardware."""
    if name == CPU:
        return bool(torch.cpu._is_amx_tile_supported())
    return name not in DEVICES or DEVICES[name][2] is not None
