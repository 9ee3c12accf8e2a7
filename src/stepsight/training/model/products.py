"""Matrix products of training on a CPU by oneDNN.

torch multiplies float32 matrices by MKL, which on processors of another maker than its own is slower than oneDNN, for
products as narrow as a small model's head nearly twice. Both round as float32 does. Gradients with regard to weights
take a transposed copy of both factors, and are faster all the same.
"""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import Any

import torch
from transformers import Trainer

from stepsight.engines.transformers.products import can_pack


def use_onednn(trainer: Trainer) -> int:
    """Have the linear layers without bias of a model in training multiply by oneDNN, where that is the same function.

    That is: on a CPU, in float32, with weights that are whole. Names of weights and of modules stay as they are.

    Returns:
        How many layers do so from now on.
    """
    model: Any = trainer.model
    if trainer.args.device.type != "cpu" or trainer.args.bf16 or trainer.args.fp16 or trainer.is_fsdp_enabled:
        return 0
    layers = [module for module in model.modules() if type(module) is torch.nn.Linear and module.bias is None]
    if not layers or trainer.is_deepspeed_enabled or not all(can_pack(layer.weight) for layer in layers):
        return 0
    _operation()
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(layer: Any, rows: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = torch.ops.stepsight.multiply(rows, layer.weight)
    return made


@cache
def _operation() -> None:
    """Register the product as an operation of its own: the compiler would take oneDNN's for one with frozen weights."""

    @torch.library.custom_op("stepsight::multiply", mutates_args=())
    def multiply(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Rows, (..., inputs), by the transpose of a weight, (outputs, inputs)."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
        return made

    @multiply.register_fake
    def _(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rows.new_empty(*rows.shape[:-1], weight.shape[0])

    def keep(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        rows, weight = ctx.saved_tensors
        wants_rows, wants_weight = ctx.needs_input_grad
        of_rows = multiply(gradient.contiguous(), weight.t().contiguous()) if wants_rows else None
        of_weight = (
            multiply(gradient.flatten(0, -2).t().contiguous(), rows.flatten(0, -2).t().contiguous())
            if wants_weight
            else None
        )
        return of_rows, of_weight

    multiply.register_autograd(backward, setup_context=keep)
