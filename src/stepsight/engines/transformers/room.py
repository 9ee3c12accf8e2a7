"""How much memory the rows of an engine may take: what is free is divided among the engines of a process.

Engines fill their room while they work, not when they are made, so the second one finds as much free as the first one
did: what the first was promised has to be left out.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

from stepsight.machine import look_at_memory

_UNKNOWN = 2**62
_promised: weakref.WeakKeyDictionary[Any, tuple[str, int]] = weakref.WeakKeyDictionary()


def room_for_rows(device: torch.device, alike: int = 1) -> int:
    """Half of what is free and promised to no engine of this process, in bytes; a lot where nobody knows what is free.

    Args:
        device: where the rows are.
        alike: so many processes do the same on the same device, and share it.
    """
    free = _free_memory(device)
    if free is None:
        return _UNKNOWN
    promised = sum(size for kind, size in _promised.values() if kind == str(device))
    return max(free // alike - promised, 2) // 2


def promise(engine: Any, device: torch.device, room: int) -> None:
    """Note what an engine may take, as long as it lives."""
    if room < _UNKNOWN:
        _promised[engine] = (str(device), room)


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cpu":
        return look_at_memory().free
    free, _ = torch.accelerator.get_memory_info(device)
    return int(free)
