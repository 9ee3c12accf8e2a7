"""The layers of a Llama without what the library does around each operation.

With few rows the arithmetic of a step takes hardly more time than the calls around it: modules, hooks, arguments, one
product for each of query, key and value. Here the same function is computed from a copy of the weights that is laid out
for it (see `products`): those of one product lie side by side, those of a norm are multiplied into the product behind
it, and the two halves of a rotary embedding are interleaved, so that a turn is one complex multiplication. The weights
of the model itself are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaModel

from stepsight.engines.transformers.attention import NAME, attend_both
from stepsight.engines.transformers.products import Product
from stepsight.engines.transformers.slots import Slots

_FIXED_ANGLES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose angles depend on the position alone, not on how long the text has become."""
_MANY_ROWS, _FEW_QUERIES = 32, 16
"""From so many heads of rows on, and up to so many queries of each, plain products are faster than the fused kernel."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """Products of one layer: `inward` makes queries, keys and values, `up` the gate and what it lets through."""

    inward: Product
    outward: Product
    up: Product
    down: Product


class LeanLlama:
    """Runs tokens of several rows; row i is slot i of the key-values."""

    def __init__(self, language: LlamaModel) -> None:
        config = language.config
        self._heads = int(config.num_attention_heads)
        self._kept = int(config.num_key_value_heads or self._heads)
        self._dim = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._norm = language.norm.weight.detach()
        self._eps = torch.full((1, 1), float(config.rms_norm_eps))
        self._mean = torch.full((int(config.hidden_size), 1), 1 / int(config.hidden_size))
        self._layers = [self._lay_out(layer) for layer in language.layers]
        places = torch.arange(int(config.max_position_embeddings))
        cos, sin = language.rotary_emb(self._norm, places[None])
        # Both halves of a rotary embedding turn by the same angles.
        self._turns = torch.complex(*(half[0, :, : self._dim // 2].contiguous() for half in (cos, sin)))

    @classmethod
    def of(cls, language: Any) -> LeanLlama | None:
        """The lean form of a language model; None where it has none. Its weights must be such as can be packed."""
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

    def run(
        self,
        slots: Slots,
        embedded: torch.Tensor,
        places: torch.Tensor,
        columns: torch.Tensor,
        reach: int,
        ends: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states after new tokens of each row.

        Args:
            slots: Key-values; the new ones are written.
            embedded: (rows, width, hidden).
            places: (rows, width), the position of each token. Rubbish behind a row's last token may lie beyond what
                the model knows.
            columns: (rows, width), where in its slot each row writes; the position, less the length of a trunk.
            reach: Columns of the slots that attention looks at.
            ends: (rows,), the one token of each row whose state is wanted; None: all are. Of the last layer the others
                need nothing but keys and values.

        Returns:
            (rows, width, hidden), normed; (rows, 1, hidden) with `ends`.
        """
        (rows, width), kept, dim = columns.shape, self._kept, self._dim
        turning, tokens, folded = self._heads + kept, rows * width, self._heads // kept
        slots.settle(rows)
        cells = slots.cells(columns)
        turns = self._turns[places.reshape(-1).clamp(max=len(self._turns) - 1)][:, None]
        mask, biases = self._masks(columns, reach)
        state = embedded.reshape(tokens, -1)
        for number, (layer, (keys, values, flat)) in enumerate(zip(self._layers, slots.rows.pairs, strict=True)):
            heads = layer.inward(self._normed(state)).view(tokens, turning + kept, dim)
            torch.view_as_complex(heads[:, :turning].view(tokens, turning, dim // 2, 2)).mul_(turns)
            flat.index_copy_(0, cells, heads[:, self._heads :].reshape(-1, dim))
            if ends is not None and number == len(self._layers) - 1:
                told = torch.arange(rows) * width + ends
                heads, state, tokens, width = heads[told], state[told], rows, 1
                mask, biases = self._masks(columns.gather(1, ends[:, None]), reach)
            asked = heads[:, : self._heads].view(rows, width, kept, folded, dim)
            asked = asked.permute(0, 2, 3, 1, 4).reshape(rows, kept, folded * width, dim)
            own = keys[:rows, :, :reach], values[:rows, :, :reach]
            both = slots.split(number, *own)
            if both is not None:
                seen = attend_both(asked, *both, mask)
            elif biases is not None:
                key_lines, value_lines = (
                    held.view(-1, *held.shape[2:])[: rows * kept, :reach] for held in (keys, values)
                )
                seen = _attend(asked.reshape(rows * kept, -1, dim), key_lines, value_lines, biases)
            else:
                seen = functional.scaled_dot_product_attention(asked, *own, attn_mask=mask)
            seen = seen.view(rows, kept, folded, width, dim).permute(0, 3, 1, 2, 4).reshape(tokens, -1)
            state = layer.outward.onto(state, seen)
            gate, let = layer.up(self._normed(state)).chunk(2, dim=-1)
            state = layer.down.onto(state, functional.silu(gate) * let)
        return (self._normed(state) * self._norm).view(rows, width, -1)

    def _masks(self, columns: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What hides the columns behind each new token, (rows, 1, queries, reach), and the same for plain products.

        The second is None where the fused kernel is faster.
        """
        (rows, width), kept, folded = columns.shape, self._kept, self._heads // self._kept
        hidden = torch.arange(reach) > columns[:, :, None]
        mask = torch.zeros(hidden.shape).masked_fill_(hidden, torch.finfo(torch.float32).min)[:, None]
        if width > 1 and folded > 1:
            mask = mask.repeat(1, 1, folded, 1)
        plain = rows * kept >= _MANY_ROWS and folded * width <= _FEW_QUERIES
        return mask, mask.expand(rows, kept, -1, -1).reshape(rows * kept, -1, reach) if plain else None

    def _normed(self, state: torch.Tensor) -> torch.Tensor:
        """States by their root mean square; a norm's weights are in the product that follows."""
        return state * torch.addmm(self._eps, state * state, self._mean).rsqrt_()

    def _lay_out(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        before, between = layer.input_layernorm.weight.detach(), layer.post_attention_layernorm.weight.detach()
        turned = (_interleaved(part.weight.detach(), self._dim) for part in (attention.q_proj, attention.k_proj))
        return _Layer(
            inward=Product(torch.cat([*turned, attention.v_proj.weight.detach()]) * before),
            outward=Product(attention.o_proj.weight.detach()),
            up=Product(torch.cat([mlp.gate_proj.weight.detach(), mlp.up_proj.weight.detach()]) * between),
            down=Product(mlp.down_proj.weight.detach()),
        )


def _attend(asked: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention as two products, (heads of all rows, queries, dim); mask: (heads of all rows, queries, columns)."""
    scores = torch.baddbmm(mask, asked, keys.transpose(1, 2), alpha=asked.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), values)


def _interleaved(weight: torch.Tensor, dim: int) -> torch.Tensor:
    """Rows of each head's first and second half, (heads * dim, inputs), in turn."""
    return weight.view(-1, 2, dim // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _untouched(language: LlamaModel) -> bool:
    """Whether all layers are the library's own, and nobody looks into them while they run."""
    return all(
        type(module).__module__.startswith(("torch.nn.", "transformers.activations", "transformers.models.llama."))
        and not (module._forward_hooks or module._forward_pre_hooks or hasattr(module, "_hf_hook"))
        for module in language.modules()
    )
