"""Attention over key-values that rows share: the shared part is read once for all of them.

What a row attends to falls into a trunk, which it has in common with its siblings, and its own branch. Both are
attended to apart and the two results put together by their log-sum-exp, which is exact (Hydragen, arXiv 2402.05099).
Heads that share key-values are folded into the queries, so that nothing is repeated for them either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "stepsight"
"""What this attention is called among those of the library."""


@dataclass(frozen=True, eq=False)
class Grove:
    """Which rows stand on which trunk.

    Attributes:
        members: (trunks * most,), the row at each place; places that nobody takes name row 0.
        place: (rows,), where in `members` each row stands.
        most: How many rows the trunk with most of them has.
        mask: (trunks, 1, 1, columns), additive, hides what lies beyond a trunk's length; None where all are as long.
        plain: Whether every trunk has as many rows as the others, in the order of the rows.
    """

    members: torch.Tensor
    place: torch.Tensor
    most: int
    mask: torch.Tensor | None
    plain: bool


@dataclass(frozen=True, eq=False)
class Split:
    """Keys or values of one layer in two parts: `trunk`, (trunks, heads, columns, dim), and `own`, by row."""

    trunk: torch.Tensor
    own: torch.Tensor
    grove: Grove


def register() -> None:
    """Make this attention known to the library; without shared parts it is the library's own."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


def attend(
    module: Any,
    query: torch.Tensor,
    key: Any,
    value: Any,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in the form that the library's models call.

    Args:
        module: The attention layer.
        query: (rows, heads, width, dim).
        key: What the cache gave: a tensor as usual, or a `Split` into two parts.
        value: The same.
        attention_mask: Additive, (rows, 1, width, columns of the own part).
        scaling: Of the scores; None is one by the root of `dim`.
        options: Passed on to the library's attention where nothing is shared.

    Returns:
        (rows, width, heads, dim).
    """
    if not isinstance(key, Split) or not isinstance(value, Split):
        made, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return made, None
    assert attention_mask is not None
    rows, heads, width, dim = query.shape
    kept = key.own.shape[1]
    folded = heads // kept * width
    asked = query.reshape(rows, kept, folded, dim)
    mask = attention_mask.expand(rows, heads // kept, width, -1).reshape(rows, 1, folded, -1)
    both = attend_both(asked, key, value, mask, scaling)
    return both.view(rows, heads, width, dim).transpose(1, 2), None


def attend_both(
    asked: torch.Tensor, key: Split, value: Split, mask: torch.Tensor, scaling: float | None = None
) -> torch.Tensor:
    """Attention to trunk and own part.

    Args:
        asked: Queries, (rows, heads of the key-values, queries that share such a head, dim).
        key: In two parts.
        value: The same.
        mask: Additive, of the own part, broadcast to (rows, 1, queries, columns).
        scaling: Of the scores; None is one by the root of `dim`.

    Returns:
        What `asked` has for a shape.
    """
    _, kept, folded, dim = asked.shape
    own, own_mass = attention(asked, key.own, value.own, mask, scaling)
    grove, trunks = key.grove, key.trunk.shape[0]
    gathered = asked if grove.plain else asked.index_select(0, grove.members)
    gathered = gathered.view(trunks, grove.most, kept, folded, dim).transpose(1, 2)
    gathered = gathered.reshape(trunks, kept, grove.most * folded, dim)
    shared, shared_mass = attention(gathered, key.trunk, value.trunk, grove.mask, scaling)
    shared = shared.view(trunks, kept, grove.most, folded, dim).transpose(1, 2).reshape(-1, kept, folded, dim)
    shared_mass = shared_mass.view(trunks, kept, grove.most, folded).transpose(1, 2).reshape(-1, kept, folded)
    if not grove.plain:
        shared, shared_mass = shared.index_select(0, grove.place), shared_mass.index_select(0, grove.place)
    weight = torch.sigmoid(shared_mass - own_mass)[..., None]
    return torch.lerp(own.float(), shared.float(), weight.float()).to(asked.dtype)


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention and the logarithm of what its weights summed to.

    Args:
        query: (batch, heads, width, dim).
        key: (batch, heads, columns, dim).
        value: (batch, heads, columns, dim).
        mask: Additive, broadcast to (batch, 1, width, columns).
        scaling: Of the scores; None is one by the root of `dim`.

    Returns:
        (batch, heads, width, dim) and, in float32 or wider, (batch, heads, width).
    """
    if mask is not None:
        mask = mask.expand(query.shape[0], 1, query.shape[2], key.shape[2])
    if query.device.type == "cpu":
        made, mass = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=scaling
        )
        return made, mass
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * (scaling or query.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores + mask
    mass = scores.logsumexp(-1)
    return torch.matmul((scores - mass[..., None]).exp().to(value.dtype), value), mass
