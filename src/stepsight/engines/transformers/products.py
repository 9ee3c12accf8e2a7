"""Matrix products with weights that never change, laid out once for the processor.

What torch multiplies float32 matrices with on a CPU lays the weights out anew for each product, which for a few rows
costs as much as the product. oneDNN multiplies with weights that were laid out before; torch takes it itself when it
freezes a compiled model.
"""

from __future__ import annotations

from typing import Any

import torch


class Product:
    """Multiplies rows, (..., inputs), by the transpose of a weight, (outputs, inputs), of which it holds a copy."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._packed: Any = torch.ops.mkldnn._reorder_linear_weight(weight)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """The product, (..., outputs)."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, None, "none", [], "")
        return made

    def onto(self, so_far: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The product of (rows, inputs) added to (rows, outputs)."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, so_far, self._packed, None, "add")
        return made


def can_pack(weight: torch.Tensor) -> bool:
    """Whether this torch and processor can multiply with such a weight laid out once."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return False
    # These operations are torch's own affair and may change: they must be there and do what is expected of them.
    try:
        with torch.inference_mode():
            small = torch.arange(12.0).reshape(4, 3) - 5.0
            rows = torch.arange(6.0).reshape(2, 3) - 2.0
            product, expected = Product(small), rows @ small.t()
            twice = product.onto(expected, rows)
            return torch.allclose(product(rows), expected) and torch.allclose(twice, 2 * expected)
    except (AttributeError, RuntimeError, TypeError):
        return False
