"""From an exchange to tokens, labels and weights: loss on assistant tokens and their end of turn only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from stepsight.world.lessons import Span

IGNORED = -100
"""The label of a token without loss, as in torch's cross entropy."""


@dataclass(frozen=True)
class Encoded:
    """One exchange as tensors.

    Attributes:
        ids: [tokens] int64, pictures expanded to their placeholder tokens.
        labels: [tokens] int64; `IGNORED` on user, header, picture and given tokens.
        weights: [tokens] float32, the weight of each label's loss.
        pixels: what the image processor made of the pictures, or None.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    pixels: torch.Tensor | None


def encode_exchange(processor: Any, user: str, picture: Image.Image | None, spans: Sequence[Span]) -> Encoded:
    """Encode one user turn and the assistant's reply, by the processor's own chat template.

    Args:
        processor: of the model in training.
        user: text of the user turn.
        picture: RGB picture or None.
        spans: the assistant's text; spans of weight 0 are given and not learned.

    Raises:
        ValueError: nothing is left to learn.
    """
    content: list[dict[str, str]] = [{"type": "image"}] if picture is not None else []
    content.append({"type": "text", "text": user})
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    if picture is None:
        ids, pixels = processor.tokenizer(prompt, add_special_tokens=False)["input_ids"], None
    else:
        batch = processor(text=[prompt], images=[picture], return_tensors="pt")
        ids, pixels = batch["input_ids"][0].tolist(), batch["pixel_values"]
    labels, weights = [IGNORED] * len(ids), [0.0] * len(ids)
    for span in spans:
        piece = processor.tokenizer(span.text, add_special_tokens=False)["input_ids"]
        ids = ids + piece
        labels += piece if span.weight else [IGNORED] * len(piece)
        weights += [span.weight] * len(piece)
    end = processor.tokenizer.eos_token_id
    ids, labels, weights = [*ids, end], [*labels, end], [*weights, min(1.0, spans[-1].weight)]
    if not any(weights):
        raise ValueError("an exchange without anything to learn")
    return Encoded(torch.tensor(ids), torch.tensor(labels), torch.tensor(weights), pixels)


def collate(rows: Sequence[Encoded], pad: int, multiple: int = 32) -> dict[str, torch.Tensor]:
    """Pad on the right to a common length.

    No attention mask is needed: attention is causal, and what follows a row's end is never looked at.

    Returns:
        `input_ids`, `labels`, `weights`: [rows, length]; `pixel_values`: [pictures, 3, height, width] if there are any.
    """
    length = -(-max(len(row.ids) for row in rows) // multiple) * multiple

    def pad_to(values: torch.Tensor, filler: float) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, length - len(values)), value=filler)

    batch = {
        "input_ids": torch.stack([pad_to(row.ids, pad) for row in rows]),
        "labels": torch.stack([pad_to(row.labels, IGNORED) for row in rows]),
        "weights": torch.stack([pad_to(row.weights, 0.0) for row in rows]),
    }
    pixels = [row.pixels for row in rows if row.pixels is not None]
    if pixels:
        batch["pixel_values"] = torch.cat(pixels)
    return batch
