"""How long a step takes: from operations and a device's peak, or measured here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stepsight.errors import InputError
from stepsight.machine import look_at_memory
from stepsight.training.plan.records import Lengths, Part, Target
from stepsight.training.plan.step import Loss

PER_WEIGHT = 16
"""Bytes a weight of a step that is measured: itself, its gradient and two moments, in float32."""


def rule_of_thumb(parts: tuple[Part, ...], lengths: Lengths, batch: int) -> int:
    """Operations of a step as commonly estimated: 6 for each parameter of the text model and each token of its rows.

    What the vision tower sees are no tokens of a row, and attention between tokens is left out (arXiv 2001.08361).
    """
    numbers = sum(part.parameters for part in parts if part.name in ("text model", "projector"))
    return round(6 * numbers * lengths.tokens * batch)


def from_peak(operations: int, devices: int, target: Target, utilisation: float) -> tuple[float, str]:
    """Seconds of a step at a share of the devices' peak, and how they came about."""
    assert target.peak is not None
    speed = target.peak * utilisation
    how = f"{utilisation:.0%} of {target.peak / 1e12:,.0f} TFLOP/s on each of {devices}"
    return operations / devices / speed, how


def measure_step(model: Any, batch: Mapping[str, torch.Tensor], loss: Loss, turns: int) -> tuple[float, str]:
    """Seconds of a step, measured on this machine with random weights.

    Args:
        model: an outline, whose weights become real ones.
        batch: of one turn.
        loss: of the recipe.
        turns: of a step.

    Raises:
        InputError: the model is too large for this machine's memory.
    """
    needed = PER_WEIGHT * sum(weight.numel() for weight in model.parameters())
    free = look_at_memory().free
    if free is not None and needed > free // 2:
        raise InputError(
            f"a step of this model takes {needed / 2**30:.1f} GiB and more, too much to measure it here",
            hint="plan it for a graphics card: --device h100",
        )
    _make_real(model)
    optimiser = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], fused=True)
    seconds = 0.0
    for _ in range(2):  # the first one finds memory and warms up
        began = time.perf_counter()
        result, _ = loss(model, dict(batch))
        result.backward()
        turn = time.perf_counter()
        optimiser.step()
        optimiser.zero_grad()
        seconds = turns * (turn - began) + time.perf_counter() - turn
    return seconds, f"a step measured here, {torch.get_num_threads()} threads"


def _make_real(model: nn.Module) -> None:
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) not in made:
                values = torch.empty(weight.shape).normal_(0, 0.02)
                made[id(weight)] = nn.Parameter(values, requires_grad=weight.requires_grad)
            setattr(module, name, made[id(weight)])
