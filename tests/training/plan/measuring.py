"""What a real step holds, by the records that torch's allocator makes of every block it gives and takes back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], None]


@dataclass(frozen=True)
class Measured:
    """Bytes of a model in training, and the most that one step held beside weights and moments."""

    weights: int
    gradients: int
    optimiser: int
    most: int


def most_held(step: Step) -> int:
    """The most bytes that were there at once, of those that a step asked for."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    now = most = 0
    results: Any = seen.profiler
    for event in results.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def measure(model: Any, batch: dict[str, torch.Tensor], loss: Any, *, autocast: bool) -> Measured:
    """A step of a model with real weights."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, fused=True)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            result, _ = loss(model, dict(batch))
        result.backward()

    most = most_held(step)
    gradients = sum(weight.grad.nbytes for weight in learning if weight.grad is not None)
    optimiser.step()
    moments = sum(value.nbytes for state in optimiser.state.values() for value in state.values())
    return Measured(sum(weight.nbytes for weight in model.parameters()), gradients, moments, most)
