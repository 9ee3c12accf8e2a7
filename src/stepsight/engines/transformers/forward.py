"""Running the language model over rows of different length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stepsight.engines.transformers.attention import NAME, register
from stepsight.engines.transformers.families.causal import Family, Span, Spot
from stepsight.engines.transformers.lean import LeanLlama
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.products import Product, can_pack
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.slots import Slots
from stepsight.machine import look_at_memory

Ints = np.typing.NDArray[np.int64]


class Runner:
    """The model and its pictures. Not thread-safe: one thread owns it."""

    def __init__(self, family: Family, pictures: PictureShelf, *, share: bool = False) -> None:
        """Take the parts; with `share` rows stand on trunks where the family allows it (see `slots.py`)."""
        self.family = family
        self.share = share and family.shares and share_attention(family.language)
        self.context = family.context
        self.shape = family.shape
        self._pictures = pictures
        self._embed = family.model.get_input_embeddings()
        self._head = head = family.model.get_output_embeddings()
        # The families that count positions otherwise have language models of their own, of which there is no lean form.
        self._lean = LeanLlama.of(family.language) if _pays_packing(family.language, head) else None
        if self._lean is not None and type(head) is torch.nn.Linear and head.bias is None:
            self._head = Product(head.weight.detach())

    def step(
        self, slots: Slots, prompts: Sequence[Prompt], tokens: Sequence[Sequence[int]], lengths: Sequence[int]
    ) -> torch.Tensor:
        """Feed one token per row, or a few; row i is slot i, began with `prompts[i]` and holds `lengths[i]` tokens.

        Returns:
            Logits after each token, row by row, (tokens of all rows, vocabulary).
        """
        device = self.shape.device
        counts = [len(row) for row in tokens]
        rows, width = len(counts), max(counts)
        fed = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens], dtype=torch.long, device=device)
        hidden = self._forward(slots, prompts, self._embed(fed), lengths).reshape(rows * width, -1)
        if width > 1:
            told = [row * width + place for row, count in enumerate(counts) for place in range(count)]
            hidden = hidden[torch.tensor(told, device=device)]
        return self.logits(hidden)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the head makes of hidden states, (..., hidden) to (..., vocabulary)."""
        logits: torch.Tensor = self._head(hidden)
        return logits

    def run(
        self,
        slots: Slots,
        suffixes: Sequence[Ints],
        starts: Sequence[int],
        prompts: Sequence[Prompt],
        *,
        ends: bool = False,
    ) -> torch.Tensor:
        """Run suffixes of different length as one batch.

        Row i is slot i and continues the first `starts[i]` tokens of `prompts[i]`, which its suffix may go beyond.

        Returns:
            Hidden states, (rows, width, hidden), rubbish behind the end of a suffix; with `ends` those of the last
            token of each suffix, (rows, hidden).
        """
        device = self.shape.device
        width = max(len(suffix) for suffix in suffixes)
        ids = np.zeros((len(suffixes), width), dtype=np.int64)
        spots: list[Spot] = []
        for row, (prompt, start, suffix) in enumerate(zip(prompts, starts, suffixes, strict=True)):
            ids[row, : len(suffix)] = suffix
            spot = self._spot(row, prompt, start, start + len(suffix))
            if spot is not None:
                spots.append(spot)
                # The placeholder may be no word of the language model at all.
                ids[row, spot.columns.cpu().numpy()] = 0
        embedded = self._embed(torch.from_numpy(ids).to(device))
        for spot in spots:
            embedded[spot.row, spot.columns] = spot.vectors.to(embedded.dtype)
        last = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=device) if ends else None
        return self._forward(slots, prompts, embedded, starts, spots, last)

    def _spot(self, row: int, prompt: Prompt, start: int, end: int) -> Spot | None:
        """The picture tokens of a prompt in [start, end); None where there are none, or they stay what they are."""
        fresh = np.flatnonzero((prompt.places >= start) & (prompt.places < end))
        if not prompt.pictures or not (len(fresh) or self.family.beside):
            return None
        seen = [self._pictures.see(picture) for picture in prompt.pictures]
        vectors = [one.vectors for one in seen if one.vectors is not None]
        if not len(fresh) or not vectors:
            return None
        device = self.shape.device
        chosen = torch.from_numpy(fresh).to(device)
        deep = [one.deep for one in seen if one.deep is not None]
        return Spot(
            row=row,
            columns=torch.from_numpy(prompt.places[fresh] - start).to(device),
            vectors=torch.cat(vectors)[chosen],
            deep=torch.cat(deep, dim=1)[:, chosen] if deep else None,
        )

    def _forward(
        self,
        slots: Slots,
        prompts: Sequence[Prompt],
        embedded: torch.Tensor,
        starts: Sequence[int],
        spots: Sequence[Spot] = (),
        ends: torch.Tensor | None = None,
    ) -> torch.Tensor:
        width, device = embedded.shape[1], self.shape.device
        inside = [start - slots.offset(row) for row, start in enumerate(starts)]
        reach = max(inside) + width
        slots.reserve(len(starts), reach)
        along = torch.arange(width, device=device)
        begins = torch.tensor(inside, dtype=torch.long, device=device)
        columns = begins[:, None] + along
        places = torch.tensor(starts, dtype=torch.long, device=device)[:, None] + along if self.share else columns
        if self._lean is not None:
            states = self._lean.run(slots, embedded, places, columns, reach, ends)
            return states if ends is None else states[:, 0]
        slots.aim(begins, width, reach)
        span = Span(prompts, starts, width, reach, places, columns, embedded, slots, spots)
        given = self.family.arguments(span)
        output = self.family.language(inputs_embeds=embedded, past_key_values=slots, use_cache=True, **given)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden if ends is None else hidden[torch.arange(len(starts), device=device), ends]


def _pays_packing(language: Any, head: Any) -> bool:
    """Whether weights are laid out once more: where that can be done, and takes at most a quarter of free memory."""
    weight = getattr(head, "weight", None)
    if weight is None or not can_pack(weight):
        return False
    free = look_at_memory().free
    held = sum(parameter.nbytes for parameter in (*language.parameters(), weight))
    return free is None or held <= free // 4


def share_attention(language: Any) -> bool:
    """Give a language model the attention that knows trunks; False where it runs another than the library's usual."""
    if language.config._attn_implementation == "sdpa":
        register()
        language.config._attn_implementation = NAME
    return bool(language.config._attn_implementation == NAME)
