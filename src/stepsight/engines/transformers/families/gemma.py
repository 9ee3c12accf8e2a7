"""Gemma 3: a picture's tokens see each other in both directions, and most layers look back over a window only.

Key-values of a picture are exact only if all of it runs at once, so a prompt is never cut inside one. The window is a
mask: key-values before it are kept, for another branch may need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stepsight.engines.transformers.families.causal import Family, Ints, Span, additive

if TYPE_CHECKING:
    from stepsight.engines.transformers.prompts import Prompt


class Gemma3(Family):
    """Gemma 3 (arXiv 2503.19786)."""

    vision = ("siglip_vision_model",)
    text = ("gemma3_text",)
    windows = True
    shares = False
    pieces = False

    def settle(self, prompt: Prompt, length: int) -> int:
        """Back to the start of the picture in which the cut would fall."""
        blocks = blocks_of(prompt)
        if not 0 < length < len(blocks) or blocks[length] < 0 or blocks[length] != blocks[length - 1]:
            return length
        return int(np.argmax(blocks == blocks[length]))

    def arguments(self, span: Span) -> dict[str, Any]:
        """One mask per kind of layer."""
        places = torch.arange(span.reach, device=span.columns.device)
        hidden = places > span.columns[:, :, None]
        if span.spots:
            hidden &= ~self._within_pictures(span)
        window = int(self.model.config.text_config.sliding_window)
        far = places <= span.columns[:, :, None] - window
        masks = {
            "full_attention": additive(hidden, span.embedded.dtype),
            "sliding_attention": additive(hidden | far, span.embedded.dtype),
        }
        return {"attention_mask": masks, "position_ids": self.clamped(span.places)}

    def _within_pictures(self, span: Span) -> torch.Tensor:
        """Whether a token and the one it looks at belong to one block of picture tokens, (rows, width, reach)."""
        blocks = np.full((len(span.prompts), max(span.reach, int(span.columns.max()) + 1)), -1, dtype=np.int64)
        for spot in span.spots:
            own = blocks_of(span.prompts[spot.row])
            blocks[spot.row, : len(own)] = own[: blocks.shape[1]]
        held = torch.from_numpy(blocks).to(span.columns.device)
        asking = held.gather(1, span.columns)
        same: torch.Tensor = (asking[:, :, None] == held[:, None, : span.reach]) & (asking >= 0)[:, :, None]
        return same


def blocks_of(prompt: Prompt) -> Ints:
    """For each token the number of the unbroken run of picture tokens that it is in, or -1."""
    blocks = np.full(len(prompt), -1, dtype=np.int64)
    if len(prompt.places):
        blocks[prompt.places] = np.cumsum(np.diff(prompt.places, prepend=-2) > 1) - 1
    return blocks
