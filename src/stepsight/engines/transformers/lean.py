"""A decoding step of a small Llama without what the library does around each operation.

In a model of a few million parameters the arithmetic of a step takes less time than the calls around it: modules,
hooks, arguments, one product for each of query, key and value. Here the same operations run on the same weights with
nothing between them. Larger models gain nothing and would hold some weights twice, so they stay with the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaModel

from stepsight.engines.transformers.attention import NAME
from stepsight.engines.transformers.slots import Slots

MOST_PARAMETERS = 50_000_000


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weights of one layer: `inward` makes queries, keys and values, `up` the gate and what it lets through."""

    norm: torch.Tensor
    inward: torch.Tensor
    outward: torch.Tensor
    mlp_norm: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor


class LeanLlama:
    """Steps of one token per row; row i is slot i of the key-values, without trunks. The weights must not change."""

    def __init__(self, language: LlamaModel) -> None:
        config = language.config
        self._heads = int(config.num_attention_heads)
        self._kept = int(config.num_key_value_heads or self._heads)
        self._dim = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._hidden = (int(config.hidden_size),)
        self._eps = float(config.rms_norm_eps)
        self._norm = language.norm.weight.detach()
        self._layers = [_layer(layer) for layer in language.layers]
        places = torch.arange(int(config.max_position_embeddings), device=self._norm.device)
        cos, sin = language.rotary_emb(self._norm, places[None])
        # Both halves of a rotary embedding turn by the same angles.
        self._cos, self._sin = (half[0, :, : self._dim // 2].clone() for half in (cos, sin))

    @classmethod
    def of(cls, language: Any) -> LeanLlama | None:
        """The lean form of a language model; None where it has none, or would gain nothing."""
        if type(language) is not LlamaModel:
            return None
        config, weights = language.config, list(language.parameters())
        plain = config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias
        # In lower precision the library rounds at other places than the operations used here.
        exact = config._attn_implementation in ("sdpa", NAME) and all(
            weight.dtype == torch.float32 for weight in weights
        )
        small = sum(weight.numel() for weight in weights) <= MOST_PARAMETERS
        return cls(language) if plain and exact and small else None

    def step(self, slots: Slots, embedded: torch.Tensor, columns: torch.Tensor, reach: int) -> torch.Tensor:
        """Hidden states after one token per row.

        Args:
            slots: Key-values; the new ones are written.
            embedded: (rows, hidden).
            columns: (rows,), where each row writes; also its position.
            reach: Columns that attention looks at.

        Returns:
            (rows, hidden), normed.
        """
        rows, kept, dim, half = len(columns), self._kept, self._dim, self._dim // 2
        turning = self._heads + kept
        cells = slots.cells(columns)
        cos, sin = self._cos[columns][:, None], self._sin[columns][:, None]
        hidden_columns = torch.arange(reach, device=columns.device) > columns[:, None]
        mask = torch.zeros(rows, 1, 1, reach, dtype=embedded.dtype, device=columns.device)
        mask.masked_fill_(hidden_columns[:, None, None], torch.finfo(embedded.dtype).min)
        state = embedded
        for layer, (keys, values, flat) in zip(self._layers, slots.rows.pairs, strict=True):
            normed = functional.rms_norm(state, self._hidden, layer.norm, self._eps)
            heads = functional.linear(normed, layer.inward).view(rows, turning + kept, dim)
            turned = heads[:, :turning]
            left, right = turned[..., :half], turned[..., half:]
            first = torch.addcmul(left * cos, right, sin, value=-1)
            second = torch.addcmul(right * cos, left, sin)
            left.copy_(first)
            right.copy_(second)
            flat.index_copy_(0, cells, heads[:, self._heads :].reshape(-1, dim))
            asked = heads[:, : self._heads].view(rows, kept, self._heads // kept, dim)
            seen = functional.scaled_dot_product_attention(
                asked, keys[:rows, :, :reach], values[:rows, :, :reach], attn_mask=mask
            )
            state = torch.addmm(state, seen.reshape(rows, -1), layer.outward)
            normed = functional.rms_norm(state, self._hidden, layer.mlp_norm, self._eps)
            gate, let = functional.linear(normed, layer.up).chunk(2, dim=-1)
            state = torch.addmm(state, functional.silu(gate) * let, layer.down)
        return functional.rms_norm(state, self._hidden, self._norm, self._eps)


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        norm=layer.input_layernorm.weight.detach(),
        inward=torch.cat([part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]).detach(),
        outward=attention.o_proj.weight.detach().t(),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).detach(),
        down=mlp.down_proj.weight.detach().t(),
    )
