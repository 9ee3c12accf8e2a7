"""Mllama (Llama 3.2 Vision, the base of LLaVA-CoT): pictures stand beside the text, in cross-attention layers.

Each placeholder is one token with an embedding of its own; what it stands for is looked at by all tokens behind it up
to the next picture. Tokens before the first picture look at all pictures without weight of their own (the library's
way, kept to the letter), so every key-value of a conversation depends on all of its pictures: they salt its keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from stepsight.engines.transformers.buffer import KVShape
from stepsight.engines.transformers.families.causal import Family, Seen, Span

if TYPE_CHECKING:
    from stepsight.engines.transformers.pictures import Picture
    from stepsight.engines.transformers.prompts import Prompt


class _Beside:
    """Key-values of one cross-attention layer, as the library looks for them in a cache; other layers have none.

    They are held, or, where there is no room for those of all layers, made each time they are looked at.
    """

    def __init__(self, made: Callable[[int], torch.Tensor] | None = None, *, held: bool = False) -> None:
        self.is_initialized = made is not None
        self._made = made
        self._held = (made(0), made(1)) if made is not None and held else None

    @property
    def keys(self) -> torch.Tensor:
        """(rows, heads, vision tokens, head_dim)."""
        return self._get(0)

    @property
    def values(self) -> torch.Tensor:
        """As `keys`."""
        return self._get(1)

    def _get(self, kind: int) -> torch.Tensor:
        if self._held is not None:
            return self._held[kind]
        assert self._made is not None
        return self._made(kind)


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
        self._laid_bytes = self._room = 0

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

    @property
    def laid_bytes(self) -> int:
        """Of rows that look at different pictures, which get copies; those that look at one picture share it."""
        return self._laid_bytes

    def leave(self, rows: Sequence[tuple[Picture, ...]], room: int) -> None:
        """See `Family.leave`."""
        if tuple(rows) != self._laid[0]:
            self._laid, self._laid_bytes = ((), [], 0), 0
        self._room = room

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

    def _stack(self, rows: tuple[tuple[Picture, ...], ...]) -> tuple[list[Any], int]:
        tokens = max(sum(_vision_tokens(picture) for picture in pictures) for pictures in rows)
        if not tokens:
            return [], 0
        some = _cross(next(picture for pictures in rows for picture in pictures))
        alone = _alike(rows) and len(rows[0]) == 1
        copies = 0 if alone else some[:, :, :, :1].nbytes * tokens * (1 if _alike(rows) else len(rows))
        held = copies <= self._room
        self._laid_bytes = copies if held else 0
        layers = [_Beside() for _ in range(int(self.model.config.text_config.num_hidden_layers))]
        for place, layer in enumerate(self._cross):
            layers[layer] = _Beside(partial(_lay_out, rows, tokens, place), held=held)
        return layers, tokens


def _lay_out(rows: tuple[tuple[Picture, ...], ...], tokens: int, place: int, kind: int) -> torch.Tensor:
    """Keys (kind 0) or values of one layer for all rows, (rows, heads, tokens, head_dim).

    Rows that all look at the same look at one copy, and at the picture's own where it is one.
    """
    alike, first = _alike(rows), rows[0]
    if alike and len(first) == 1:
        return _cross(first[0])[place, kind][None].expand(len(rows), -1, -1, -1)
    some = _cross(next(picture for pictures in rows for picture in pictures))[place, kind]
    laid = some.new_zeros(1 if alike else len(rows), some.shape[0], tokens, some.shape[2])
    for row in range(len(laid)):
        start = 0
        for picture in rows[row]:
            end = start + _vision_tokens(picture)
            laid[row, :, start:end] = _cross(picture)[place, kind]
            start = end
    return laid.expand(len(rows), -1, -1, -1)


def _alike(rows: tuple[tuple[Picture, ...], ...]) -> bool:
    return all(pictures == rows[0] for pictures in rows)


def _cross(picture: Picture) -> torch.Tensor:
    assert picture.seen is not None
    assert picture.seen.cross is not None
    return picture.seen.cross


def _vision_tokens(picture: Picture) -> int:
    return _cross(picture).shape[3]


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
