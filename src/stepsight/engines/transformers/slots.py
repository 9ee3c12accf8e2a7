"""Key-values of the sequences being worked on, in preallocated slots.

Each row writes its next key-values at its own length, so rows of different length stand side by side without padding
in front, join and leave at any step, and nothing is concatenated. A mask hides what lies beyond a row's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache

_GROWTH = 64


@dataclass(frozen=True)
class KVShape:
    """Sizes of one token's key-values. `own` names the model's layers that have them, in order."""

    layers: int
    heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    own: tuple[int, ...]

    @classmethod
    def of(
        cls, text_config: Any, *, dtype: torch.dtype, device: torch.device, layers: Sequence[int] | None = None
    ) -> KVShape:
        """Read the sizes from the configuration of a language model; `layers` are those that count, or all."""
        own = tuple(range(int(text_config.num_hidden_layers)) if layers is None else layers)
        heads = int(text_config.num_attention_heads)
        return cls(
            layers=len(own),
            heads=int(getattr(text_config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(text_config, "head_dim", None) or text_config.hidden_size // heads),
            dtype=dtype,
            device=device,
            own=own,
        )


class Slots(Cache):
    """A transformers cache whose rows are slots of one buffer (layers, 2, rows, heads, columns, head_dim)."""

    def __init__(self, shape: KVShape) -> None:
        super().__init__(layers=[])
        self.shape = shape
        self._place = {layer: place for place, layer in enumerate(shape.own)}
        self._rows = 0
        self._columns = 0
        self._active = 0
        self._seen = 0
        self._index = torch.zeros(0, dtype=torch.long)
        self._set(self._empty(0, 0))

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return self.buffer.nbytes

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for `rows` slots of `columns` tokens, keeping what is there."""
        if rows <= self._rows and columns <= self._columns:
            return
        if rows > self._rows:
            rows = max(rows, self._rows * 2)
        if columns > self._columns:
            columns = max(columns + _GROWTH, self._columns * 3 // 2)
        old = self.buffer
        new = self._empty(max(rows, self._rows), max(columns, self._columns))
        if old.numel():
            new[:, :, : self._rows, :, : self._columns] = old
        self._set(new)

    def release(self) -> None:
        """Give the memory back; all slots are lost."""
        self._set(self._empty(0, 0))

    def fill(self, slot: int | slice, parts: Sequence[torch.Tensor]) -> None:
        """Write stored key-values, each (layers, 2, heads, tokens, head_dim), one after the other from column 0."""
        start = 0
        for part in parts:
            end = start + part.shape[3]
            if isinstance(slot, slice):
                self.buffer[:, :, slot, :, start:end] = part[:, :, None]
            else:
                self.buffer[:, :, slot, :, start:end] = part
            start = end

    def read(self, slot: int, start: int, end: int) -> torch.Tensor:
        """A copy of the key-values of one slot, (layers, 2, heads, end - start, head_dim)."""
        return self.buffer[:, :, slot, :, start:end].clone(memory_format=torch.contiguous_format)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns of one slot over another."""
        self.buffer[:, :, target, :, :length] = self.buffer[:, :, source, :, :length]

    def aim(self, starts: torch.Tensor, width: int, seen: int) -> None:
        """Say where the next forward writes.

        Args:
            starts: (rows,), the column at which each row's new tokens begin; row i is slot i.
            width: New tokens per row. A row with fewer writes rubbish behind them, which the next write covers.
            seen: Columns that attention looks at; at least the largest start plus `width`.
        """
        rows = len(starts)
        heads = self.shape.heads
        line = torch.arange(rows, device=starts.device)[:, None] * heads + torch.arange(heads, device=starts.device)
        columns = starts[:, None] + torch.arange(width, device=starts.device)
        # Row of the flattened (rows * heads * columns, head_dim) layer for each (row, head, new token).
        self._index = (line[:, :, None] * self._columns + columns[:, None, :]).reshape(-1)
        self._active, self._seen = rows, seen

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new key-values (rows, heads, width, head_dim) of one layer; return all that attention sees."""
        keys, values, flat_keys, flat_values = self._views[self._place[layer_idx]]
        flat_keys.index_copy_(0, self._index, key_states.reshape(-1, self.shape.head_dim))
        flat_values.index_copy_(0, self._index, value_states.reshape(-1, self.shape.head_dim))
        return keys[: self._active, :, : self._seen], values[: self._active, :, : self._seen]

    def _empty(self, rows: int, columns: int) -> torch.Tensor:
        shape = self.shape
        size = (shape.layers, 2, rows, shape.heads, columns, shape.head_dim)
        # Zeros, not rubbish: a masked column has weight 0, but 0 times an accidental NaN is NaN.
        return torch.zeros(size, dtype=shape.dtype, device=shape.device)

    def _set(self, buffer: torch.Tensor) -> None:
        self.buffer = buffer
        self._rows, self._columns = buffer.shape[2], buffer.shape[4]
        dim = self.shape.head_dim
        self._views = [(pair[0], pair[1], pair[0].view(-1, dim), pair[1].view(-1, dim)) for pair in buffer]
