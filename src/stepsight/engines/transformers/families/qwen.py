"""Qwen2.5-VL and Qwen3-VL: a picture's tokens have a row and a column among their rotary positions.

The library keeps the distance between a text's length and its next position on the module, between calls; here each
prompt has its own, so searches that run side by side cannot disturb each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stepsight.engines.transformers.families.causal import Family, Ints, Span

if TYPE_CHECKING:
    from stepsight.engines.transformers.pictures import Picture


class Qwen25VL(Family):
    """Qwen2.5-VL (arXiv 2502.13923): multimodal rotary positions (time, row, column), time standing still."""

    vision = ("qwen2_5_vl_vision", "qwen2_5_vl")
    text = ("qwen2_5_vl_text",)

    def positions(self, length: int, places: Ints, pictures: Sequence[Picture]) -> Ints | None:
        """See `grid_positions`."""
        if not pictures:
            return None
        merge = int(self.model.config.vision_config.spatial_merge_size)
        return grid_positions(length, places, [picture.grid for picture in pictures], merge)

    def arguments(self, span: Span) -> dict[str, Any]:
        """As others, with positions of three axes where a prompt has pictures."""
        given = super().arguments(span)
        rows = [self._row(span, row) for row in range(len(span.prompts))]
        positions = torch.from_numpy(np.stack(rows, axis=1)).to(span.places.device)
        return {**given, "position_ids": self.clamped(positions)}

    def _row(self, span: Span, row: int) -> Ints:
        """Positions of one row's tokens, (3, width); behind the prompt all axes count on from its last one."""
        prompt, start = span.prompts[row], span.starts[row]
        places = np.arange(start, start + span.width)
        if prompt.positions is None:
            return np.broadcast_to(places, (3, span.width))
        length = len(prompt)
        inside = prompt.positions[:, start : start + span.width]
        behind = places[max(0, length - start) :] - length + 1 + int(prompt.positions.max())
        return np.concatenate([inside, np.broadcast_to(behind, (3, len(behind)))], axis=1)


class Qwen3VL(Qwen25VL):
    """Qwen3-VL (arXiv 2511.21631): the same positions; the first layers get features of the vision tower's middle."""

    vision = ("qwen3_vl_vision", "qwen3_vl")
    text = ("qwen3_vl_text",)

    def arguments(self, span: Span) -> dict[str, Any]:
        """As Qwen2.5-VL, with the deep features of the pictures that run now."""
        given = super().arguments(span)
        if not span.spots:
            return given
        mask = torch.zeros(span.places.shape, dtype=torch.bool, device=span.places.device)
        deep = []
        for spot in span.spots:
            mask[spot.row, spot.columns] = True
            assert spot.deep is not None
            deep.append(spot.deep)
        return {**given, "visual_pos_masks": mask, "deepstack_visual_embeds": list(torch.cat(deep, dim=1))}

    def _deep(self, output: Any) -> torch.Tensor | None:
        levels = [torch.cat(list(level)) for level in output.deepstack_features]
        return torch.stack(levels).to(self.model.dtype) if levels else None


def grid_positions(length: int, places: Ints, grids: Sequence[tuple[int, int, int]], merge: int) -> Ints:
    """Rotary positions of a sequence, (3, length), for time, row and column.

    Text counts on along all axes; a picture's axes count its grid from where the text stopped.

    Args:
        length: Tokens of the sequence.
        places: Positions of all placeholders, ascending.
        grids: Frames, rows and columns of patches of each picture, in the order of their placeholders.
        merge: So many rows, and columns, of patches become one of tokens.
    """
    made = np.zeros((3, length), dtype=np.int64)
    column = position = start = 0
    for frames, rows, columns in grids:
        first = int(places[start])
        text = first - column
        made[:, column:first] = position + np.arange(text)
        position += text
        grid = np.indices((frames, rows // merge, columns // merge)).reshape(3, -1)
        tokens = grid.shape[1]
        made[:, first : first + tokens] = position + grid
        position += max(rows // merge, columns // merge)
        column, start = first + tokens, start + tokens
    made[:, column:] = position + np.arange(length - column)
    return made
