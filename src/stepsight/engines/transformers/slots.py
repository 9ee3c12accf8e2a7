"""Key-values of the sequences being worked on, in preallocated slots.

Each row writes its next key-values at its own length, so rows of different length stand side by side without padding
in front, join and leave at any step, and nothing is concatenated. A mask hides what lies beyond a row's length.

A row may stand on a trunk: the beginning of its sequence, held once for all rows that share it. Then its slot holds the
rest only, and column 0 of the slot is the first token behind the trunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from stepsight.engines.transformers.attention import Grove, Split
from stepsight.engines.transformers.buffer import LENGTH_DIM, Buffer, KVShape


class Slots(Cache):
    """A transformers cache whose rows are slots of a buffer, and may stand on trunks.

    Rows are numbered 0, 1, 2; a row that leaves is replaced by the last one (`move`), and `keep` forgets the rest.
    """

    def __init__(self, shape: KVShape) -> None:
        super().__init__(layers=[])
        self.shape = shape
        self.rows = Buffer(shape)
        self.trunks = Buffer(shape)
        self._place = {layer: place for place, layer in enumerate(shape.own)}
        self._trunk_of: list[int] = []
        self._lengths: list[int] = []
        self._grove: tuple[tuple[tuple[int, ...], ...], Grove | None] = ((), None)
        self._active = self._seen = self._widest = 0
        self._index = torch.zeros(0, dtype=torch.long)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return self.rows.nbytes + self.trunks.nbytes

    def need(self, rows: int, columns: int, *, trunk: int = 0) -> int:
        """Bytes of so many rows with so many columns of their own, the trunks, and one more of `trunk` tokens."""
        trunks = len(self._lengths) + bool(trunk)
        tokens = rows * columns + trunks * max([trunk, *self._lengths])
        return tokens * self.shape.token_bytes

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for `rows` slots of `columns` tokens of their own."""
        self.rows.reserve(rows, columns, used=(len(self._trunk_of), self._widest))
        # Nobody fills columns that were not asked for here.
        self._widest = max(self._widest, columns)

    def release(self) -> None:
        """Give the memory back; all rows are lost."""
        self.rows.release()
        self.trunks.release()
        self.keep(0)

    def plant(self, parts: Sequence[torch.Tensor]) -> int:
        """A new trunk from stored key-values, each (layers, 2, heads, tokens, head_dim); its number."""
        length = sum(part.shape[LENGTH_DIM] for part in parts)
        number = len(self._lengths)
        self.trunks.reserve(number + 1, max(length, 1), used=(number, max(self._lengths, default=0)))
        self.trunks.fill(number, parts)
        self._lengths.append(length)
        return number

    def join(self, parts: Sequence[torch.Tensor], trunk: int | None = None) -> int:
        """A new row that holds `parts`, behind a trunk or from the start of its sequence; its number.

        All rows that are in at the same time have a trunk, or none has.
        """
        row = len(self._trunk_of)
        self.reserve(row + 1, sum(part.shape[LENGTH_DIM] for part in parts))
        self.rows.fill(row, parts)
        self._trunk_of.append(-1 if trunk is None else trunk)
        return row

    def fork(self, row: int, length: int) -> int:
        """A new row whose sequence begins as the `length` tokens of another one; its number."""
        other = len(self._trunk_of)
        self.reserve(other + 1, 0)
        self.rows.copy(row, other, length - self.offset(row))
        self._trunk_of.append(self._trunk_of[row])
        return other

    def offset(self, row: int) -> int:
        """How many tokens of a row's sequence are in its trunk."""
        trunk = self._trunk_of[row]
        return 0 if trunk < 0 else self._lengths[trunk]

    def read(self, row: int, start: int, end: int) -> torch.Tensor:
        """A copy of key-values of a row's sequence, (layers, 2, heads, end - start, head_dim)."""
        offset = self.offset(row)
        if start >= offset:
            return self.rows.read(row, start - offset, end - offset)
        below = self.trunks.read(self._trunk_of[row], start, min(end, offset))
        if end <= offset:
            return below
        return torch.cat([below, self.rows.read(row, 0, end - offset)], dim=LENGTH_DIM)

    def move(self, source: int, target: int, length: int) -> None:
        """Put the row `source`, whose sequence has `length` tokens, where `target` was."""
        self.rows.copy(source, target, length - self.offset(source))
        self._trunk_of[target] = self._trunk_of[source]

    def keep(self, rows: int) -> None:
        """Forget all rows but the first so many, and the trunks that nobody stands on any more."""
        del self._trunk_of[rows:]
        self._widest = self._widest if rows else 0
        used = set(self._trunk_of)
        while self._lengths and len(self._lengths) - 1 not in used:
            self._lengths.pop()
        for gap in range(len(self._lengths)):
            last = len(self._lengths) - 1
            if gap >= last:
                break
            if gap not in used:
                # The last trunk moves into the gap, so that those in use stand side by side.
                self.trunks.copy(last, gap, self._lengths[last])
                self._lengths[gap] = self._lengths.pop()
                self._trunk_of = [gap if trunk == last else trunk for trunk in self._trunk_of]
                used = set(self._trunk_of)
                while self._lengths and len(self._lengths) - 1 not in used:
                    self._lengths.pop()

    def aim(self, starts: torch.Tensor, width: int, seen: int) -> None:
        """Say where the next forward writes.

        Args:
            starts: (rows,), the column of its slot at which each row's new tokens begin.
            width: New tokens per row. A row with fewer writes rubbish behind them, which the next write covers.
            seen: Columns of the slots that attention looks at; at least the largest start plus `width`.
        """
        rows, heads = len(starts), self.shape.heads
        line = torch.arange(rows, device=starts.device)[:, None] * heads + torch.arange(heads, device=starts.device)
        columns = starts[:, None] + torch.arange(width, device=starts.device)
        # Row of the flattened (rows * heads * columns, head_dim) layer for each (row, head, new token).
        self._index = (line[:, :, None] * self.rows.columns + columns[:, None, :]).reshape(-1)
        self._active, self._seen = rows, seen
        self.settle(rows)

    def settle(self, rows: int) -> None:
        """See which of the first `rows` rows stand on which trunk now."""
        stands = tuple(self._trunk_of[:rows])
        layout = (stands, tuple(self._lengths))
        if layout != self._grove[0]:
            self._grove = (layout, self._lay_out(stands) if max(self._lengths, default=0) else None)

    def split(self, place: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[Split, Split] | None:
        """Keys and values of the rows' own parts, in the layer at `place`, with those of the trunks; None without."""
        grove = self._grove[1]
        if grove is None:
            return None
        count, longest = len(self._lengths), max(self._lengths)
        trunk_keys, trunk_values, _, _ = self.trunks.layers[place]
        return (
            Split(trunk_keys[:count, :, :longest], keys, grove),
            Split(trunk_values[:count, :, :longest], values, grove),
        )

    def cells(self, columns: torch.Tensor) -> torch.Tensor:
        """Where new tokens, (rows, width), go in a layer's flattened keys and values: (rows * width * 2 * heads,)."""
        rows, heads, size = len(columns), self.shape.heads, self.rows.columns
        line = torch.arange(rows * heads, device=columns.device).view(rows, 1, 1, heads)
        kind = torch.arange(2, device=columns.device)[:, None] * (self.rows.slots * heads)
        return ((line + kind) * size + columns[:, :, None, None]).reshape(-1)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> Any:
        """Write the new key-values (rows, heads, width, head_dim) of one layer; return all that attention sees."""
        place, dim = self._place[layer_idx], self.shape.head_dim
        keys, values, flat_keys, flat_values = self.rows.layers[place]
        flat_keys.index_copy_(0, self._index, key_states.reshape(-1, dim))
        flat_values.index_copy_(0, self._index, value_states.reshape(-1, dim))
        own = keys[: self._active, :, : self._seen], values[: self._active, :, : self._seen]
        return self.split(place, *own) or own

    def _lay_out(self, stands: tuple[int, ...]) -> Grove:
        device = self.shape.device
        standing = [[row for row, trunk in enumerate(stands) if trunk == one] for one in range(len(self._lengths))]
        most = max(len(rows) for rows in standing)
        members = [row for rows in standing for row in (*rows, *[0] * (most - len(rows)))]
        place = {row: trunk * most + index for trunk, rows in enumerate(standing) for index, row in enumerate(rows)}
        longest = max(self._lengths)
        mask = None
        if min(self._lengths) < longest:
            lengths = torch.tensor(self._lengths, device=device)
            hidden = torch.arange(longest, device=device) >= lengths[:, None]
            mask = torch.zeros(hidden.shape, dtype=self.shape.dtype, device=device)
            mask = mask.masked_fill_(hidden, torch.finfo(self.shape.dtype).min)[:, None, None]
        return Grove(
            members=torch.tensor(members, device=device),
            place=torch.tensor([place[row] for row in range(len(stands))], device=device),
            most=most,
            mask=mask,
            plain=members == list(range(len(stands))),
        )
