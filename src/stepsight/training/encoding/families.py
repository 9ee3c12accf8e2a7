"""Which families can be trained exactly, and what their rows need beside tokens.

A family counts as exact if a test shows that its labels are the assistant's words and end of turn, and its loss on our
batches that of the library, gradients included. The engine's families are those; others are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from stepsight.engines.transformers.families import PROVEN
from stepsight.engines.transformers.families.qwen import grid_positions
from stepsight.errors import ModelError
from stepsight.training.encoding.pictured import Tensors

REFUSED = {
    "paligemma": "its prompt attends in both directions, so a prompt is not read as the beginning of a conversation",
}
"""Reasons that are known; any other family is refused because nothing shows that it is exact."""


@dataclass(frozen=True)
class Layout:
    """What rows of a family are made of beside tokens.

    Attributes:
        kinds: what the model calls the input that says of each token whether it is text or picture, if it wants one.
        sized: whether the number of a picture's tokens depends on its size.
        grid: whether a picture's tokens have a row and a column among their positions.
        beside: whether pictures are looked at beside the text, through cross-attention.
        unpackable: why rows cannot stand behind one another; empty if they can.
    """

    kinds: str = ""
    sized: bool = False
    grid: bool = False
    beside: bool = False
    unpackable: str = ""

    def of_tokens(
        self, processor: Any, ids: torch.Tensor, pictures: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What the model wants to know of each token: tensors whose first axis is that of `ids`, [tokens]."""
        told = {}
        if self.kinds:
            told[self.kinds] = (ids == placeholder_of(processor)).long()
        if self.beside and pictures:
            looks = get_cross_attention_token_mask(ids.tolist(), processor.image_token_id)
            tiles = pictures["pixel_values"].shape[2]
            mask = convert_sparse_cross_attention_mask_to_dense(
                [looks], num_tiles=pictures["num_tiles"].tolist(), max_num_tiles=tiles, length=len(ids)
            )
            told["cross_attention_mask"] = torch.as_tensor(mask)[0]
        return told

    def positions(self, processor: Any, ids: torch.Tensor, pictures: Tensors) -> torch.Tensor:
        """Where the tokens of a row stand, as the model is told once rows stand behind one another.

        Returns:
            [tokens], or [4, tokens] where pictures have rows and columns: the place, then time, row and column.
        """
        plain = torch.arange(len(ids))
        if not self.grid:
            return plain
        places = (ids == placeholder_of(processor)).nonzero()[:, 0].numpy()
        grids = [tuple(grid) for grid in pictures["image_grid_thw"].tolist()] if pictures else []
        axes = torch.from_numpy(grid_positions(len(ids), places, grids, int(processor.image_processor.merge_size)))
        return torch.cat([plain[None], axes])


_SIZED = Layout(sized=True)
_GRID = Layout(kinds="mm_token_type_ids", sized=True, grid=True)
LAYOUTS: dict[str, Layout] = {
    "LlavaProcessor": Layout(),
    "LlavaOnevisionProcessor": _SIZED,
    "Idefics3Processor": _SIZED,
    "SmolVLMProcessor": _SIZED,
    "InternVLProcessor": _SIZED,
    "Qwen2_5_VLProcessor": _GRID,
    "Qwen3VLProcessor": _GRID,
    "Gemma3Processor": Layout(
        kinds="token_type_ids",
        unpackable="where attention has a window, the library looks for all rows' pictures where the first row has its",
    ),
    "MllamaProcessor": Layout(
        beside=True, unpackable="a token before a row's picture would look at the pictures of the rows around it"
    ),
}
"""By the class of the processor, which is all that the making of rows needs to know of a model."""


def layout_of(processor: Any) -> Layout:
    """What the rows of a processor's models are made of.

    Raises:
        ModelError: no test shows that they can be made exactly.
    """
    name = type(processor).__name__
    if name not in LAYOUTS:
        raise _refusal(f"rows for models with a {name} cannot be made", "no test shows that they are exact")
    return LAYOUTS[name]


def check_trainable(config: Any) -> None:
    """Make sure that models of a configuration can be trained exactly.

    Raises:
        ModelError: they cannot, for the reason that it gives.
    """
    kind = str(getattr(config, "model_type", ""))
    if kind not in PROVEN:
        raise _refusal(
            f"models of type '{kind}' cannot be trained",
            REFUSED.get(kind, "no test shows that their labels and losses are exact"),
        )
    if config.text_config.model_type not in PROVEN[kind].text:
        raise _refusal(
            f"language model '{config.text_config.model_type}' inside '{kind}' cannot be trained",
            "no test shows that its loss is exact",
        )


def placeholder_of(processor: Any) -> int:
    """The token at whose places pictures stand."""
    return int(processor.image_token_ids[0])


def _refusal(what: str, reason: str) -> ModelError:
    return ModelError(f"{what}: {reason}", hint=f"start from a model of one of these types: {', '.join(PROVEN)}")
