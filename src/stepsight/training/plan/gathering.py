"""What sharding puts on a device for a while: whole weights of the layers in work, and their gradients.

    forward    layer 1: gather, compute, let go;   layer 2 is gathered meanwhile
    backward   layer 2: gather, compute, sum its gradients up over all devices, let go;   layer 1 is gathered meanwhile

Gathering copies: for a moment a layer is there twice. Weights of no wrapped layer stay gathered from the forward pass
to the end of the backward pass. So FSDP2 does it as accelerate sets it up, and DeepSpeed's ZeRO-3 about so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_iter

from stepsight.training.plan.shadow import Held

SUMMED = 4
"""Bytes of a number of the gradients that are summed up: float32."""


@contextmanager
def gathering(model: Any, classes: Sequence[str], held: Held, in_backward: Callable[[], bool]) -> Iterator[None]:
    """Count in `held` what sharding puts on a device, while a step is played.

    Args:
        model: cast for the play.
        classes: names of those whose layers are gathered one by one.
        held: of the play.
        in_backward: whether the backward pass is on.
    """
    layers, rest = _units(model, classes)
    counted = _Counted(held, in_backward, [_Unit(weights) for _, weights in layers])
    for place, (module, _) in enumerate(layers):
        counted.watch(module, place)
    held.change(lent=sum(map(_size, rest)))
    counted.keep(rest)
    try:
        yield
    finally:
        for handle in counted.handles:
            handle.remove()


class _Unit:
    """Weights that are gathered together: their bytes, those that learn, and what is there of it now."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.size = sum(map(_size, weights))
        self.learning = [weight for weight in weights if weight.requires_grad]
        self.waiting = self.gradients = self.there = 0


@dataclass
class _Counted:
    held: Held
    in_backward: Callable[[], bool]
    units: list[_Unit]
    handles: list[Any] = field(default_factory=list)
    frozen: list[_Unit] = field(default_factory=list)
    sent: int = 0

    def watch(self, module: nn.Module, place: int) -> None:
        """Count a layer's weights while it is at work; layers are numbered in the order in which they are."""
        unit = self.units[place]

        def before(*_: Any) -> None:
            if not self.in_backward():
                self._gather(unit, place + 1)

        def behind(_: Any, __: Any, output: Any) -> None:
            if self.in_backward():
                return
            self._let_go(unit)
            found = (one for one in tree_iter(output) if isinstance(one, torch.Tensor) and one.requires_grad)
            if (first := next(found, None)) is not None:
                first.register_hook(lambda _: self._begin(unit, place - 1))

        self.handles += [module.register_forward_pre_hook(before), module.register_forward_hook(behind)]
        for weight in unit.learning:
            self.handles.append(weight.register_post_accumulate_grad_hook(lambda weight: self._arrived(unit, weight)))

    def keep(self, weights: list[nn.Parameter]) -> None:
        """Count gradients of weights that stay gathered as they come."""
        for weight in weights:
            if weight.requires_grad:
                self.handles.append(
                    weight.register_post_accumulate_grad_hook(lambda weight: self.held.change(lent=_size(weight)))
                )

    def _gather(self, unit: _Unit, ahead: int) -> None:
        self.held.change(lent=2 * unit.size)
        unit.there = unit.size + (self.units[ahead].size if 0 <= ahead < len(self.units) else 0)
        self.held.change(lent=unit.there - 2 * unit.size)

    def _let_go(self, unit: _Unit) -> None:
        self.held.change(lent=-unit.there)
        unit.there = 0

    def _begin(self, unit: _Unit, ahead: int) -> None:
        # Where nothing learns, nothing says when a layer is done but that another one begins.
        for other in self.frozen:
            self._let_go(other)
        self.frozen = [] if unit.learning else [unit]
        unit.waiting, unit.gradients = len(unit.learning), 0
        self._gather(unit, ahead)

    def _arrived(self, unit: _Unit, weight: torch.Tensor) -> None:
        unit.gradients += _size(weight)
        unit.waiting -= 1
        self.held.change(lent=_size(weight))
        if unit.waiting == 0:
            self._let_go(unit)
            # What the layer before sent stays until this one sends.
            sent, self.sent = self.sent, unit.gradients // weight.element_size() * SUMMED
            self.held.change(lent=self.sent - sent)
            self.held.change(lent=-unit.gradients)


def _units(model: Any, classes: Sequence[str]) -> tuple[list[tuple[nn.Module, list[nn.Parameter]]], list[nn.Parameter]]:
    """Each layer that is gathered by itself, with its weights; and the weights of no such layer."""
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    # Word embeddings are a layer of their own to accelerate, unless the head, which stays gathered, shares them.
    alone = words if words.weight is not head.weight else None
    taken: set[int] = set()
    units = []
    # Inner layers first: what they have is theirs.
    for module in reversed(list(model.modules())):
        if module is alone or type(module).__name__ in classes:
            mine = [weight for weight in module.parameters() if id(weight) not in taken]
            taken.update(map(id, mine))
            units.append((module, mine))
    return units[::-1], [weight for weight in model.parameters() if id(weight) not in taken]


def _size(weight: torch.Tensor) -> int:
    return weight.numel() * weight.element_size()
