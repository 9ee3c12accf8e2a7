"""The library's own way through the tiny models, and the engine's inner parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from tests.engines.transformers.tiny_models import FAMILIES, build

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.filling import Filled, Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import PrefixStore
from stepsight.engines.transformers.prompts import Prompt, PromptEncoder
from stepsight.protocols import Turn

__all__ = ["FAMILIES", "Tiny", "fill", "filler_of", "make_tiny"]


@dataclass(frozen=True)
class Tiny:
    """A model, its processor, and the library's own way through them."""

    model: Any
    processor: Any

    def inputs(self, turns: tuple[Turn, ...]) -> Any:
        conversation = [
            {
                "role": turn.role,
                "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}],
            }
            for turn in turns
        ]
        text = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        images = [Image.open(path).convert("RGB") for turn in turns for path in turn.images]
        return self.processor(
            text=[text], images=[images] if images else None, add_special_tokens=False, return_tensors="pt"
        )

    def logits(self, turns: tuple[Turn, ...], extra: tuple[int, ...] = ()) -> torch.Tensor:
        """Fresh full forward: logits after the prompt and after each of `extra`, (1 + extra, vocabulary)."""
        inputs = self.inputs(turns)
        ids = torch.cat([inputs.pop("input_ids"), torch.tensor([extra], dtype=torch.long)], dim=1)
        inputs.pop("attention_mask")
        for name in ("mm_token_type_ids", "token_type_ids", "cross_attention_mask"):
            if name in inputs:
                # What is written behind a prompt is text, and looks at what its last token looked at.
                more = inputs[name][:, -1:] if name == "cross_attention_mask" else torch.zeros_like(inputs[name][:, :1])
                inputs[name] = torch.cat([inputs[name], *[more] * len(extra)], dim=1)
        with torch.no_grad():
            logits = self.model(input_ids=ids, use_cache=False, **inputs).logits[0]
        last: torch.Tensor = logits[len(logits) - len(extra) - 1 :]
        return last

    def generate(self, turns: tuple[Turn, ...], tokens: int) -> list[int]:
        inputs = self.inputs(turns)
        with torch.no_grad():
            out = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        return [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]

    def engine(self, **options: Any) -> TransformersEngine:
        return TransformersEngine(self.model, self.processor, **options)


def make_tiny(family: str) -> Tiny:
    """The tiny model of a family: random, the same at each call, with logits that tell tokens apart."""
    torch.manual_seed(7)
    model, processor = build(family)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                # Gates and projections that begin at zero would hide what lies behind them.
                torch.nn.init.normal_(parameter, std=0.3)
            if parameter.ndim > 1:
                # Random weights of the usual size give flat logits that depend on next to nothing.
                parameter.mul_(20.0 if "lm_head" in name else 5.0)
    return Tiny(model.eval(), processor)


def filler_of(
    tiny: Tiny, *, cache_bytes: int = 2**24, max_rows: int = 64, share: bool = False
) -> tuple[Filler, PromptEncoder]:
    """The engine's inner parts, for tests that look at logits."""
    family = family_of(tiny.model.config)(tiny.model)
    shelf = PictureShelf(family, tiny.processor, max_bytes=2**20)
    filler = Filler(Runner(family, shelf, share=share), PrefixStore(cache_bytes), max_rows=max_rows)
    return filler, PromptEncoder(tiny.processor, shelf, family)


def fill(filler: Filler, prompts: Sequence[Prompt]) -> list[Filled]:
    """All prompts filled, in their order."""
    filled = dict(pair for found in filler.filling(prompts) for pair in found)
    return [filled[place] for place in range(len(prompts))]
