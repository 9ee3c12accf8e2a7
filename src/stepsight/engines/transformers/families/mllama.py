"""Mllama (Llama 3.2 Vision, the base of LLaVA-CoT): pictures stand beside the text, in cross-attention layers.

Each placeholder is one token with an embedding of its own; what it stands for is looked at by all tokens behind it up
to the next picture. Tokens before the first picture look at all pictures without weight of their own (the library's
way, kept to the letter), so every key-value of a conversation depends on all of its pictures: they salt its keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from stepsight.engines.transformers.buffer import KVShape
from stepsight.engines.transformers.families.causal import Family, Seen, Span

if TYPE_CHECKING:
    from stepsight.engines.transformers.pictures import Picture
    from stepsight.engines.transformers.prompts import Prompt


class _Beside:
    """Key-values of one cross-attention layer, as the library looks for them in a cache; other layers have none."""

    def __init__(self, *held: torch.Tensor) -> None:
        self.is_initialized = bool(held)
        if held:
            self.keys, self.values = held


class Mllama(Family):
    """Llama 3.2 Vision (arXiv 2407.21783, section 7)."""

    vision = ("mllama_vision_model",)
    text = ("mllama_text_model",)
    beside = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._cross = [int(layer) for layer in model.config.text_config.cross_attention_layers]
        self._patches = int(model.model.vision_model.num_patches)
        self._laid: tuple[tuple[tuple[Picture, ...], ...], list[Any], int] = ((), [], 0)

    @classmethod
    def shape_of(cls, text_config: Any, *, dtype: torch.dtype, device: torch.device) -> KVShape:
        """Without the cross-attention layers, whose key-values do not grow."""
        cross = set(text_config.cross_attention_layers)
        layers = [layer for layer in range(int(text_config.num_hidden_layers)) if layer not in cross]
        return KVShape.of(text_config, dtype=dtype, device=device, layers=layers)

    def see(self, inputs: dict[str, torch.Tensor]) -> Seen:
        """Key-values of a picture in every cross-attention layer; its empty tiles included, and masked later."""
        tiles = int(inputs.pop("num_tiles"))
        output = self.model.model.vision_model(**inputs).last_hidden_state
        states = self.model.model.multi_modal_projector(output).reshape(1, -1, self.language.config.hidden_size)
        made = []
        for layer in self._cross:
            attention = self.language.layers[layer].cross_attn
            split = (1, -1, attention.num_key_value_heads, attention.head_dim)
            keys = attention.k_norm(attention.k_proj(states).view(split).transpose(1, 2))
            made.append(torch.stack([keys[0], attention.v_proj(states).view(split).transpose(1, 2)[0]]))
        return Seen(cross=torch.stack(made), tiles=tiles)

    def salt(self, pictures: Sequence[Picture]) -> int:
        """A number drawn from all pictures in their order."""
        if not pictures:
            return 0
        digest = hashlib.sha256(b"".join(picture.digest.to_bytes(8, "big") for picture in pictures)).digest()
        return int.from_bytes(digest[:8], "big") >> 2 | 1

    def arguments(self, span: Span) -> dict[str, Any]:
        """As others, with the pictures of each row laid out beside it.

        A row without pictures passes the cross-attention layers unchanged: the values it looks at are zero and so is
        the factor of what follows.
        """
        given = super().arguments(span)
        tokens = self._lay(span)
        if not tokens:
            return given
        dtype, device = span.embedded.dtype, span.embedded.device
        least = torch.finfo(dtype).min
        mask = torch.full((len(span.prompts), 1, span.width, tokens), least, dtype=dtype, device=device)
        kept = torch.zeros(len(span.prompts), 1, span.width, 1, dtype=dtype, device=device)
        for row, prompt in enumerate(span.prompts):
            start = 0
            for picture, (first, end) in zip(prompt.pictures, looked_at(prompt), strict=True):
                assert picture.seen is not None
                looks = (span.places[row] >= first) & (span.places[row] < end)
                mask[row, 0, looks, start : start + picture.seen.tiles * self._patches] = 0
                kept[row, 0, looks] = 1
                start += _vision_tokens(picture)
            blind = kept[row, 0, :, 0] == 0
            mask[row, 0, blind, : start or tokens] = 0
        return {**given, "cross_attention_mask": mask, "full_text_row_masked_out_mask": kept}

    def _lay(self, span: Span) -> int:
        """Put the pictures' key-values where the library looks for them; how many vision tokens each row has."""
        wanted = tuple(tuple(prompt.pictures) for prompt in span.prompts)
        if wanted != self._laid[0]:
            self._laid = (wanted, *self._stack(wanted))
        _, span.slots.layers, tokens = self._laid
        return tokens

    def _stack(self, wanted: tuple[tuple[Picture, ...], ...]) -> tuple[list[Any], int]:
        whole: dict[tuple[Picture, ...], torch.Tensor] = {}
        for pictures in wanted:
            if pictures and pictures not in whole:
                crosses = [picture.seen.cross for picture in pictures if picture.seen is not None]
                whole[pictures] = torch.cat([cross for cross in crosses if cross is not None], dim=3)
        if not whole:
            return [], 0
        tokens = max(one.shape[3] for one in whole.values())
        some = next(iter(whole.values()))
        if len(whole) == 1 and all(wanted):
            # One copy for all rows.
            laid = some[:, :, None].expand(-1, -1, len(wanted), -1, -1, -1)
        else:
            laid = some.new_zeros(*some.shape[:2], len(wanted), some.shape[2], tokens, some.shape[4])
            for row, pictures in enumerate(wanted):
                if pictures:
                    laid[:, :, row, :, : whole[pictures].shape[3]] = whole[pictures]
        layers = [_Beside() for _ in range(int(self.model.config.text_config.num_hidden_layers))]
        for place, layer in enumerate(self._cross):
            layers[layer] = _Beside(laid[place, 0], laid[place, 1])
        return layers, tokens


def _vision_tokens(picture: Picture) -> int:
    assert picture.seen is not None
    assert picture.seen.cross is not None
    return picture.seen.cross.shape[3]


def looked_at(prompt: Prompt) -> list[tuple[int, float]]:
    """For each picture the tokens that look at it, [first, end): up to the next picture, the last one for ever.

    Pictures that follow each other directly are looked at together.
    """
    spans: list[tuple[int, float]] = []
    following: tuple[float, float] = (float("inf"), float("inf"))
    for place in reversed(prompt.places.tolist()):
        next_place, next_end = following
        end = next_end if next_place == place + 1 else next_place
        spans.append((place, end))
        following = (place, end)
    return spans[::-1]
