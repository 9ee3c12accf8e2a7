"""A decoding step of a Llama without what the library does around each operation.

With few rows the arithmetic of a step takes hardly more time than the calls around it: modules, hooks, arguments, one
product for each of query, key and value. Here the same operations run on the same weights with nothing between them.

Weights of one product lie one behind the other in one tensor, which those of the model become views of, so that nothing
is held twice and nothing changes for others who use the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaModel

from stepsight.engines.transformers.attention import NAME, attend_both
from stepsight.engines.transformers.slots import Slots

_FIXED_ANGLES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose angles depend on the position alone, not on how long the text has become."""


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
    """Steps of one token per row; row i is slot i of the key-values."""

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
        """The lean form of a language model; None where it has none."""
        if type(language) is not LlamaModel:
            return None
        config = language.config
        plain = config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias
        plain = plain and (config.rope_parameters or {}).get("rope_type", "default") in _FIXED_ANGLES
        # In lower precision the library rounds at other places than the operations used here.
        exact = config._attn_implementation in ("sdpa", NAME) and all(
            weight.dtype == torch.float32 for weight in language.parameters()
        )
        return cls(language) if plain and exact and _untouched(language) else None

    def step(
        self, slots: Slots, embedded: torch.Tensor, places: torch.Tensor, columns: torch.Tensor, reach: int
    ) -> torch.Tensor:
        """Hidden states after one token per row.

        Args:
            slots: Key-values; the new ones are written.
            embedded: (rows, hidden).
            places: (rows,), the position of each row's token.
            columns: (rows,), where in its slot each row writes; the position, less the length of a trunk.
            reach: Columns of the slots that attention looks at.

        Returns:
            (rows, hidden), normed.
        """
        rows, kept, dim, half = len(columns), self._kept, self._dim, self._dim // 2
        turning = self._heads + kept
        slots.settle(rows)
        cells = slots.cells(columns)
        cos, sin = self._cos[places][:, None], self._sin[places][:, None]
        hidden_columns = torch.arange(reach, device=columns.device) > columns[:, None]
        mask = torch.zeros(rows, 1, 1, reach, dtype=embedded.dtype, device=columns.device)
        mask.masked_fill_(hidden_columns[:, None, None], torch.finfo(embedded.dtype).min)
        state = embedded
        for number, (layer, (keys, values, flat)) in enumerate(zip(self._layers, slots.rows.pairs, strict=True)):
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
            own = keys[:rows, :, :reach], values[:rows, :, :reach]
            both = slots.split(number, *own)
            if both is None:
                seen = functional.scaled_dot_product_attention(asked, *own, attn_mask=mask)
            else:
                seen = attend_both(asked, *both, mask)
            state = torch.addmm(state, seen.reshape(rows, -1), layer.outward)
            normed = functional.rms_norm(state, self._hidden, layer.mlp_norm, self._eps)
            gate, let = functional.linear(normed, layer.up).chunk(2, dim=-1)
            state = torch.addmm(state, functional.silu(gate) * let, layer.down)
        return functional.rms_norm(state, self._hidden, self._norm, self._eps)


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        norm=layer.input_layernorm.weight.detach(),
        inward=_join((attention.q_proj, attention.k_proj, attention.v_proj)),
        outward=attention.o_proj.weight.detach().t(),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        up=_join((mlp.gate_proj, mlp.up_proj)),
        down=mlp.down_proj.weight.detach().t(),
    )


def _join(parts: Sequence[nn.Linear]) -> torch.Tensor:
    """The weights of layers with the same input as one tensor, which they become views of, if they are not yet."""
    weights = [part.weight.detach() for part in parts]
    first = weights[0]
    ends = [weight.data_ptr() + weight.nbytes for weight in weights]
    storages = {weight.untyped_storage().data_ptr() for weight in weights}
    if len(storages) == 1 and ends[:-1] == [weight.data_ptr() for weight in weights[1:]]:
        return first.as_strided((sum(map(len, weights)), first.shape[1]), (first.shape[1], 1))
    joined = torch.cat(weights)
    for part, piece in zip(parts, torch.split(joined, [len(weight) for weight in weights]), strict=True):
        part.weight.data = piece
    return joined


def _untouched(language: LlamaModel) -> bool:
    """Whether all layers are the library's own, on one device, and nobody looks into them while they run."""
    devices = {weight.device for weight in language.parameters()}
    return len(devices) == 1 and all(
        type(module).__module__.startswith(("torch.nn.", "transformers.activations", "transformers.models.llama."))
        and not (module._forward_hooks or module._forward_pre_hooks or hasattr(module, "_hf_hook"))
        for module in language.modules()
    )
