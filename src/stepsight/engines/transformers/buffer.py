"""A growing buffer of key-values, one slot after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_GROWTH = 64
_SMALL = 2**28
_LINE = 64
"""Bytes of a cache line."""
LENGTH_DIM = 3
"""Which dimension of stored key-values, (layers, 2, heads, tokens, head_dim), counts tokens."""


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

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's key-values."""
        return self.layers * 2 * self.heads * self.head_dim * self.dtype.itemsize


class Buffer:
    """A growing tensor (layers, 2, slots, heads, columns, head_dim), one slot after another."""

    def __init__(self, shape: KVShape) -> None:
        self.shape = shape
        self.release()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.held.nbytes

    def reserve(self, slots: int, columns: int, *, used: tuple[int, int]) -> None:
        """Make room for so many slots of so many tokens; of what is there only `used`, slots and columns, is kept."""
        if slots <= self.slots and columns <= self.columns:
            return
        # A small buffer grows by more, for each time what is used is copied.
        small = self.nbytes < _SMALL
        if slots > self.slots:
            slots = max(slots, self.slots * 2 if small else self.slots * 5 // 4)
        if columns > self.columns:
            columns = max(columns + _GROWTH, self.columns * 2 if small else self.columns * 5 // 4)
        old, new = self.held, self._empty(max(slots, self.slots), max(columns, self.columns))
        rows, filled = min(used[0], self.slots), min(used[1], self.columns)
        if rows and filled:
            new[:, :, :rows, :, :filled] = old[:, :, :rows, :, :filled]
        self._set(new)

    def release(self) -> None:
        """Give the memory back; all slots are lost."""
        self._set(self._empty(0, 0))

    def fill(self, slot: int, parts: Sequence[torch.Tensor]) -> None:
        """Write stored key-values, each (layers, 2, heads, tokens, head_dim), one after the other from column 0."""
        start = 0
        for part in parts:
            end = start + part.shape[LENGTH_DIM]
            self.held[:, :, slot, :, start:end] = part
            start = end

    def read(self, slot: int, start: int, end: int) -> torch.Tensor:
        """A copy of the key-values of one slot, (layers, 2, heads, end - start, head_dim)."""
        return self.held[:, :, slot, :, start:end].clone(memory_format=torch.contiguous_format)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns of one slot over another."""
        self.held[:, :, target, :, :length] = self.held[:, :, source, :, :length]

    def _empty(self, slots: int, columns: int) -> torch.Tensor:
        shape = self.shape
        size = (shape.layers, 2, slots, shape.heads, columns, shape.head_dim)
        # Zeros, not rubbish: a masked column has weight 0, but 0 times an accidental NaN is NaN.
        if shape.device.type != "cpu":
            return torch.zeros(size, dtype=shape.dtype, device=shape.device)
        # Torch writes zeros everywhere; numpy asks for memory that is zero, of which only what is used gets pages, and
        # large ones, which the attention's long strides like. Torch aligns to cache lines, numpy to 16 bytes.
        nbytes = math.prod(size) * shape.dtype.itemsize
        memory = np.zeros(nbytes + _LINE, dtype=np.uint8)
        start = -memory.ctypes.data % _LINE
        return torch.from_numpy(memory[start : start + nbytes]).view(shape.dtype).view(size)

    def _set(self, held: torch.Tensor) -> None:
        self.held = held
        self.slots, self.columns = held.shape[2], held.shape[4]
        dim = self.shape.head_dim
        self.layers = [(pair[0], pair[1], pair[0].view(-1, dim), pair[1].view(-1, dim)) for pair in held]
        self.pairs = [(pair[0], pair[1], pair.view(-1, dim)) for pair in held]
