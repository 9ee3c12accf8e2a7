"""A training step carried out with the shapes of its tensors alone: what it holds in memory, what it computes.

What weights have a part in is a shadow, one of torch's fake tensors, which have a shape, a type and a lifetime but no
numbers. What is made of a batch alone is real: models ask it where pictures stand and how large they are. So any model
of any size goes through its own forward and backward pass on any machine, by torch's own rules of what is kept for the
backward pass, and for how long.

What an operation needs inside itself and gives back before it ends is not seen, nor is what an allocator rounds up.
Gradients that meet count as summed up beside themselves, which torch does in place where it can.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from stepsight.errors import ModelError

MANY = 2**28
"""Bytes above which what is made of real numbers is a shadow too, such as a mask of all pairs of tokens."""

_aten = torch.ops.aten
_device = torch.ops.prim.device.default
_ASKS = (DataDependentOutputException, DynamicOutputShapeException)
"""What torch says of an operation whose outcome's shape depends on numbers."""


@dataclass
class Held:
    """Bytes of live tensors made within a play, now and at their most.

    Attributes:
        others: all but gradients of weights.
        gradients: gradients of weights.
        lent: what is there for a while that the play does not make itself (`change` says so).
        most: the most that all of them were together.
        most_others, most_lent: the most that each was.
        most_passing: the most that both were together.
    """

    others: int = 0
    gradients: int = 0
    lent: int = 0
    most: int = 0
    most_others: int = 0
    most_lent: int = 0
    most_passing: int = 0

    def change(self, others: int = 0, *, gradients: int = 0, lent: int = 0) -> None:
        """So many bytes more of each are alive, or fewer."""
        self.others += others
        self.gradients += gradients
        self.lent += lent
        self.most = max(self.most, self.others + self.gradients + self.lent)
        self.most_others = max(self.most_others, self.others)
        self.most_lent = max(self.most_lent, self.lent)
        self.most_passing = max(self.most_passing, self.others + self.lent)


@dataclass(frozen=True)
class _Made:
    """A storage's bytes, and the scene in which it was made."""

    size: int
    scene: str


class ShadowPlay(TorchDispatchMode):
    """Within it, what has to do with shadows is a shadow; `held` counts bytes, `operations` operations by `scene`.

    Weights of a model that is `cast`, and tensors that are `given`, are not counted. For one thread.

    Attributes:
        scene: the name under which what comes next is counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()
        self.operations: Counter[str] = Counter()
        self.scene = ""
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._made: dict[int, _Made] = {}
        self._gradients: set[int] = set()

    def cast(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Put shadows of that type in the place of a model's weights.

        The weights may be on torch's `meta` device, or be another play's shadows.
        """
        shadows: dict[int, nn.Parameter] = {}
        for module in model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if id(weight) not in shadows:
                    made = self.shadow(tuple(weight.shape), dtype)
                    shadows[id(weight)] = nn.Parameter(made, requires_grad=weight.requires_grad)
                setattr(module, name, shadows[id(weight)])
        self.give(model.parameters())
        self.give(model.buffers())
        for weight in model.parameters():
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._is_gradient)

    def shadow(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A shadow of that shape."""
        with self._fake:
            return torch.empty(shape, dtype=dtype, device="cpu")

    def give(self, tensors: Iterable[torch.Tensor]) -> None:
        """Say of tensors that they were there before."""
        for tensor in tensors:
            self._made[tensor.untyped_storage()._cdata] = _Made(0, "")

    def alive(self) -> dict[str, int]:
        """Bytes that are alive, gradients of weights apart, by the scene in which they were made."""
        found: Counter[str] = Counter()
        for key, made in self._made.items():
            if made.size and key not in self._gradients:
                found[made.scene] += made.size
        return dict(found)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        if func is _device:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else func(*args)
        kwargs = kwargs or {}
        result = self._carry_out(func, args, kwargs)
        formula = _OPERATIONS.get(func._overloadpacket)
        if formula is not None:
            self.operations[self.scene] += formula(*args, **kwargs, out_val=result)
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        return result

    def _carry_out(self, func: Any, args: Any, kwargs: Any) -> Any:
        if any(isinstance(one, FakeTensor) for one in tree_iter((args, kwargs))):
            if func is _aten.index.Tensor:
                args = (args[0], [place for index in args[1] for place in self._places(index)])
            try:
                with self._fake:
                    return func(*args, **kwargs)
            except _ASKS as error:
                raise ModelError(
                    f"the step cannot be carried out without numbers: {func} asks for them",
                    hint="this family cannot be planned; measure a run of a few steps instead",
                ) from error
        if not func.is_view:
            try:
                with self._fake:
                    result = func(*args, **kwargs)
            except _ASKS:
                return func(*args, **kwargs)
            if any(isinstance(one, torch.Tensor) and one.nbytes > MANY for one in tree_iter(result)):
                return result
        return func(*args, **kwargs)

    def _places(self, index: Any) -> list[Any]:
        """Instead of truth values the places where they are true, as torch takes them: one index a dimension.

        Of shadows all count as true, so that nothing is taken for smaller than it is.
        """
        if index is None or index.dtype != torch.bool:
            return [index]
        places = index.numel() if isinstance(index, FakeTensor) else int(index.count_nonzero())
        return [self.shadow((places,), torch.long) for _ in range(index.ndim)]

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._made:
            self._made[key] = _Made(storage.nbytes(), self.scene)
            self.held.change(self._made[key].size)
            weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        made = self._made.pop(key)
        if key in self._gradients:
            self._gradients.remove(key)
            self.held.change(gradients=-made.size)
        else:
            self.held.change(-made.size)

    def _is_gradient(self, weight: torch.Tensor) -> None:
        assert weight.grad is not None
        key = weight.grad.untyped_storage()._cdata
        if key not in self._gradients:
            self._gradients.add(key)
            self.held.change(-self._made[key].size, gradients=self._made[key].size)


def _attention(query: Any, key: Any, value: Any, *_: Any, out_val: Any = None, **__: Any) -> int:
    rows, heads, queries, width = query.shape
    return int(2 * rows * heads * queries * key.shape[2] * (width + value.shape[3]))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, out_val: Any = None, **__: Any) -> int:
    # Scores once more, then the gradients of values, of weights of values, of queries and of keys.
    rows, heads, queries, width = query.shape
    return int(2 * rows * heads * queries * key.shape[2] * (3 * width + 2 * value.shape[3]))


_OPERATIONS = {
    **flop_registry,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""What counts as work: products of matrices, convolutions and attention. All other operations take next to none."""
