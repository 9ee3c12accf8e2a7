"""Families whose pictures are vectors in the text: positions count 0, 1, 2, attention looks back only.

The other files of this folder say what their families do otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from stepsight.engines.transformers.buffer import KVShape
from stepsight.engines.transformers.slots import Slots

if TYPE_CHECKING:
    from stepsight.engines.transformers.pictures import Picture
    from stepsight.engines.transformers.prompts import Prompt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the language model gets of one picture.

    Attributes:
        vectors: (tokens, hidden), in place of the embeddings of its placeholders; None where those stay.
        deep: (levels, tokens, hidden), added behind the first `levels` layers.
        cross: (cross-attention layers, 2, heads, vision tokens, head_dim), key-values beside the text.
        tiles: How many tiles of the picture are filled, where the family counts them.
    """

    vectors: torch.Tensor | None = None
    deep: torch.Tensor | None = None
    cross: torch.Tensor | None = None
    tiles: int = 1

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that it holds."""
        return [tensor for tensor in (self.vectors, self.deep, self.cross) if tensor is not None]


@dataclass(frozen=True, eq=False)
class Spot:
    """Where tokens of a row's pictures stand in what runs now: `columns`, (n,), with their vectors, (n, hidden)."""

    row: int
    columns: torch.Tensor
    vectors: torch.Tensor
    deep: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Span:
    """What runs now: of each row's sequence the tokens from `starts[row]` on, `width` of them at most.

    Row i is slot i of `slots` and belongs to `prompts[i]`; its tokens may lie behind the prompt's end. `places`,
    (rows, width), says which place in its sequence each of them has, `columns` which column of its slot; attention
    looks at the first `reach` columns, and at the row's trunk, if it has one.
    """

    prompts: Sequence[Prompt]
    starts: Sequence[int]
    width: int
    reach: int
    places: torch.Tensor
    columns: torch.Tensor
    embedded: torch.Tensor
    slots: Slots
    spots: Sequence[Spot] = ()


def additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """An attention mask to add, (rows, 1, queries, columns), from what is hidden, (rows, queries, columns)."""
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None]


class Family:
    """How the models of a family take pictures and positions.

    Attributes:
        vision, text: The vision towers and language models proven, by `model_type`.
        language_name: Where the language model is inside `model.model`.
        windows: Whether layers with a sliding window are dealt with.
        alone_differs: Whether a picture is seen otherwise when it is the only one of its conversation.
        beside: Whether pictures are looked at beside the text, so that every step needs them.
        pieces: Whether a prompt may be filled piece by piece.
        shares: Whether a token looks at all that stands before it, so that rows may stand on a common trunk.
    """

    vision: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[tuple[str, ...]] = ("llama", "mistral", "qwen2", "qwen3")
    language_name: ClassVar[str] = "language_model"
    windows: ClassVar[bool] = False
    alone_differs: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    shares: ClassVar[bool] = True
    pieces: ClassVar[bool] = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.language = getattr(model.model, self.language_name)
        self.context = int(model.config.text_config.max_position_embeddings)

    @property
    def shape(self) -> KVShape:
        """Sizes of the key-values that grow with the text."""
        return self.shape_of(self.model.config.text_config, dtype=self.model.dtype, device=self.model.device)

    @classmethod
    def shape_of(cls, text_config: Any, *, dtype: torch.dtype, device: torch.device) -> KVShape:
        """Sizes of the key-values that grow with the text, from the configuration of the language model."""
        return KVShape.of(text_config, dtype=dtype, device=device)

    @property
    def placeholder(self) -> int:
        """The token at whose places pictures stand."""
        return int(self.model.config.image_token_id)

    def see(self, inputs: dict[str, torch.Tensor]) -> Seen:
        """Run the vision tower over one preprocessed picture."""
        output = self.model.get_image_features(**inputs, return_dict=True)
        parts = output.pooler_output
        vectors = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).to(self.model.dtype)
        return Seen(vectors, deep=self._deep(output))

    def salt(self, pictures: Sequence[Picture]) -> int:
        """What tells apart key-values of equal texts that depend on pictures wherever those stand; 0: nothing."""
        return 0

    def positions(self, length: int, places: Ints, pictures: Sequence[Picture]) -> Ints | None:
        """Rotary positions of a prompt, (axes, tokens), from its placeholders; None: they count 0, 1, 2."""
        return None

    def settle(self, prompt: Prompt, length: int) -> int:
        """The longest beginning of at most `length` tokens after which a prompt may be cut."""
        return length

    def arguments(self, span: Span) -> dict[str, Any]:
        """Mask, positions and what else the language model is called with."""
        hidden = torch.arange(span.reach, device=span.columns.device) > span.columns[:, :, None]
        return {"attention_mask": additive(hidden, span.embedded.dtype), "position_ids": self.clamped(span.places)}

    def clamped(self, positions: torch.Tensor) -> torch.Tensor:
        """Positions that the model knows: rows shorter than the widest end in rubbish, which may lie beyond."""
        return positions.clamp(max=self.context - 1)

    def _deep(self, output: Any) -> torch.Tensor | None:
        return None


class Llava(Family):
    """LLaVA 1.5 and its kin."""

    vision = ("siglip_vision_model", "clip_vision_model")


class LlavaOneVision(Family):
    """LLaVA-OneVision: a picture that is alone is also seen in crops."""

    vision = ("siglip_vision_model",)
    alone_differs = True


class Idefics3(Family):
    """Idefics3 and SmolVLM."""

    vision = ("idefics3_vision", "smolvlm_vision")
    language_name = "text_model"


class InternVL(Family):
    """InternVL 2.5 to 3.5, in the library's own format (`-HF`)."""

    vision = ("internvl_vision",)
