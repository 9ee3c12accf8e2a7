"""Looking at a model in training so that training does not notice: the same random numbers, modes and compiled code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def aside(model: Any) -> Iterator[None]:
    """In the block the model is in its mode for use; behind it all is as before.

    Compiled parts run as they were written: other shapes, and the lack of gradients, would have them compiled anew,
    which takes longer than looking does, and after some times their compiler gives up on them for good.
    """
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    compiled = any(getattr(module, "_compiled_call_impl", None) is not None for module, _ in modes)
    if compiled:
        torch.compiler.set_stance("force_eager")
    try:
        with _kept_generators():
            model.eval()
            yield
    finally:
        if compiled:
            torch.compiler.set_stance("default")
        for module, mode in modes:
            module.training = mode
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _kept_generators() -> Iterator[None]:
    """Keep the states of torch's generators, on the processor and on this process's accelerator."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        with torch.random.fork_rng(devices=[]):
            yield
    else:
        device = torch.accelerator.current_device_index()
        with torch.random.fork_rng(devices=[device], device_type=accelerator.type):
            yield
