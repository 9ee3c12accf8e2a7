"""What processors make of pictures, of several conversations together: as one batch, or as one row.

The first axis of such a tensor counts pictures or their parts (patches, crops), and the model finds whose they are by
the placeholders. Mllama's count the rows of a batch instead, since there is no such placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

BY_ROW = "aspect_ratio_ids"
"""The name by which tensors are known whose first axis counts rows."""
PICTURED = "pictured"
"""[rows] bool: which rows of a batch have pictures, where a row without must be told from one with."""

Tensors = Mapping[str, torch.Tensor]


def together(pictures: Sequence[Tensors]) -> dict[str, torch.Tensor]:
    """Tensors of several pictures as one; those that are smaller are padded with zeros behind, as processors do."""
    shown = [one for one in pictures if one]
    return {name: _stack([one[name] for one in shown]) for name in (shown[0] if shown else ())}


def pictures_of_rows(rows: Sequence[Tensors]) -> dict[str, torch.Tensor]:
    """The pictures of a batch as the model takes them; some rows, or all, may have none."""
    merged = together(rows)
    if BY_ROW not in merged or all(rows):
        return merged
    # As the library's processor does for a row that has fewer pictures than others; one tile is looked at, for the
    # softmax over none is not a number.
    blank = {name: torch.zeros_like(value[:1]) for name, value in merged.items()}
    blank["aspect_ratio_mask"][:, :, 0] = 1
    return {**together([row or blank for row in rows]), PICTURED: torch.tensor([bool(row) for row in rows])}


def facts_of_rows(rows: Sequence[Tensors], lengths: Sequence[int], length: int) -> dict[str, torch.Tensor]:
    """What is told of tokens, padded with zeros to [rows, length, ...]; zeros for rows that are told nothing."""
    made = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        some = next(row[name] for row in rows if name in row)
        told = [row.get(name, some.new_zeros(size, *some.shape[1:])) for row, size in zip(rows, lengths, strict=True)]
        made[name] = torch.stack([torch.cat([one, one.new_zeros(length - len(one), *one.shape[1:])]) for one in told])
    return made


def _stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    sizes = [max(sizes) for sizes in zip(*(one.shape[1:] for one in tensors), strict=True)]
    if all(list(one.shape[1:]) == sizes for one in tensors):
        return torch.cat(list(tensors))
    padded = []
    for one in tensors:
        whole = one.new_zeros(len(one), *sizes)
        whole[(slice(None), *(slice(size) for size in one.shape[1:]))] = one
        padded.append(whole)
    return torch.cat(padded)
