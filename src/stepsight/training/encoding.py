"""From an exchange to tokens, labels and weights: loss on assistant tokens and their end of turn only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from stepsight.errors import ModelError
from stepsight.world.lessons import Span
from stepsight.world.marking import Mark

IGNORED = -100
"""The label of a token without loss, as in torch's cross entropy."""
MOST_GAPS = 6
WIDEST_GAP = 40
"""Between the positions of a stretched row, in tokens."""


@dataclass(frozen=True)
class Encoded:
    """One exchange as tensors.

    Attributes:
        ids: [tokens] int64, pictures expanded to their placeholder tokens.
        labels: [tokens] int64; `IGNORED` on user, header, picture and given tokens.
        weights: [tokens] float32, the weight of each label's loss.
        marks: [tokens] int64, or None: 1 where a word of a judged text ends that is right, 0 where it is wrong,
            `IGNORED` elsewhere.
        pixels: what the image processor made of the pictures, or None.
        positions: [tokens] int64, or None: where each token stands, if they do not simply follow one another.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    pixels: torch.Tensor | None
    marks: torch.Tensor | None = None
    positions: torch.Tensor | None = None


def encode_exchange(processor: Any, user: str, picture: Image.Image | None, spans: Sequence[Span]) -> Encoded:
    """Encode one user turn and the assistant's reply, by the processor's own chat template.

    Args:
        processor: of the model in training.
        user: text of the user turn.
        picture: RGB picture or None.
        spans: the assistant's text; spans of weight 0 are given and not learned.

    Raises:
        ValueError: nothing is left to learn.
        ModelError: as `encode_conversation`.
    """
    return encode_conversation(processor, [(user, spans)], picture)


def encode_conversation(
    processor: Any, exchanges: Sequence[tuple[str, Sequence[Span]]], picture: Image.Image | None
) -> Encoded:
    """Encode user turns and the assistant's replies in turn; the picture stands in the first user turn.

    Args:
        processor: of the model in training.
        exchanges: text of a user turn, and the reply's text; spans of weight 0 are given and not learned.
        picture: RGB picture or None.

    Raises:
        ValueError: nothing is left to learn.
        ModelError: the processor turns a picture into more than one tensor, or its chat template rewrites earlier
            turns (then no reply but the last would be what the model sees later).
    """
    tokenizer = processor.tokenizer
    turns: list[dict[str, Any]] = []
    written = ""
    ids: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    pixels = None
    for user, spans in exchanges:
        first = picture is not None and not turns
        turns.append(_turn("user", user, picture=first))
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        if not prompt.startswith(written):
            raise ModelError("the chat template rewrites earlier turns", hint="train on rows of a single exchange")
        if first:
            piece, pixels = _with_picture(processor, prompt, picture)
        else:
            piece = tokenizer(prompt[len(written) :], add_special_tokens=False)["input_ids"]
        ids += piece
        labels += [IGNORED] * len(piece)
        weights += [0.0] * len(piece)
        for span in spans:
            piece = tokenizer(span.text, add_special_tokens=False)["input_ids"]
            ids += piece
            labels += piece if span.weight else [IGNORED] * len(piece)
            weights += [span.weight] * len(piece)
        ids.append(tokenizer.eos_token_id)
        labels.append(tokenizer.eos_token_id)
        weights.append(min(1.0, spans[-1].weight))
        reply = "".join(span.text for span in spans)
        turns.append(_turn("assistant", reply, picture=False))
        written = prompt + reply + tokenizer.eos_token
    if not any(weights):
        raise ValueError("an exchange without anything to learn")
    return Encoded(torch.tensor(ids), torch.tensor(labels), torch.tensor(weights), pixels)


def _turn(role: str, text: str, *, picture: bool) -> dict[str, Any]:
    content: list[dict[str, str]] = [{"type": "image"}] if picture else []
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def _with_picture(processor: Any, prompt: str, picture: Image.Image | None) -> tuple[list[int], torch.Tensor]:
    # The template has written the special tokens already.
    batch = processor(text=[prompt], images=[picture], return_tensors="pt", add_special_tokens=False)
    others = set(batch) - {"input_ids", "attention_mask", "pixel_values"}
    if others or not isinstance(batch["pixel_values"], torch.Tensor) or batch["pixel_values"].ndim != 4:
        raise ModelError(
            f"{type(processor).__name__} makes more of a picture than one tensor of pixels",
            hint="train a model of the LLaVA family",
        )
    return batch["input_ids"][0].tolist(), batch["pixel_values"]


def collate(rows: Sequence[Encoded], pad: int, multiple: int = 8) -> dict[str, torch.Tensor]:
    """Pad on the right to a common length.

    No attention mask is needed: attention is causal, and what follows a row's end is never looked at.

    Returns:
        `input_ids`, `labels`, `weights`: [rows, length]; `pixel_values`: [pictures, 3, height, width] if there are any;
        `position_ids` and `attention_mask`: [rows, length], if a row has positions of its own.
    """
    length = -(-max(len(row.ids) for row in rows) // multiple) * multiple

    def pad_to(values: torch.Tensor, filler: float) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, length - len(values)), value=filler)

    batch: dict[str, torch.Tensor] = {
        "input_ids": torch.stack([pad_to(row.ids, pad) for row in rows]),
        "labels": torch.stack([pad_to(row.labels, IGNORED) for row in rows]),
        "weights": torch.stack([pad_to(row.weights, 0.0) for row in rows]),
    }
    if any(row.marks is not None for row in rows):
        unmarked = torch.full((1,), IGNORED)
        batch["marks"] = torch.stack([pad_to(unmarked if row.marks is None else row.marks, IGNORED) for row in rows])
    if any(row.positions is not None for row in rows):
        plain = torch.arange(length)
        given = [plain if row.positions is None else pad_to(row.positions, 0) for row in rows]
        batch["position_ids"] = torch.stack(given)
        # Without a mask the library takes a gap for the beginning of another sequence.
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    pixels = [row.pixels for row in rows if row.pixels is not None]
    if pixels:
        batch["pixel_values"] = torch.cat(pixels)
    return batch


def mark_tokens(tokenizer: Any, row: Encoded, text: str, marks: Sequence[Mark], *, end_weight: float = 1.0) -> Encoded:
    """Put marks on the tokens with which the marked words of a turn end.

    Args:
        tokenizer: a fast tokenizer, whose tokens of `text` stand in the row as they are.
        row: the exchange, encoded.
        text: of one turn; if it is said twice, the later one is marked.
        marks: words of `text`, and ends of its stages.
        end_weight: weight of the loss at the end of a stage; that of a word is 1.

    Raises:
        ValueError: the text is not found in the row.
    """
    if not marks:
        return row
    piece = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, wanted = row.ids.tolist(), piece["input_ids"]
    starts = [place for place in range(len(ids) - len(wanted), -1, -1) if ids[place : place + len(wanted)] == wanted]
    if not starts:
        raise ValueError("the marked text is not found among the tokens")
    ends = {mark.end: mark for mark in marks}
    values = torch.full((len(ids),), IGNORED)
    weights = row.weights.clone()
    for place, (_, end) in enumerate(piece["offset_mapping"], start=starts[0]):
        if end in ends:
            values[place] = int(ends[end].right)
            weights[place] = end_weight if ends[end].closes else 1.0
    return replace(row, marks=values, weights=weights)


def stretch(row: Encoded, rng: random.Random, picture: int) -> Encoded:
    """Put gaps between the positions of a row's text, as if more had been written there.

    What is learned then depends less on how far apart things stand, and holds for longer texts than those of the
    lessons (randomised positions: Ruoss et al., arXiv 2305.16843).

    Args:
        row: an exchange, encoded.
        rng: says where the gaps are and how wide.
        picture: the placeholder of pictures, whose tokens stay together.
    """
    seen = (row.ids == picture).nonzero()
    first = int(seen.max()) + 1 if len(seen) else 1
    steps = torch.ones_like(row.ids)
    steps[0] = 0
    for _ in range(rng.randint(1, MOST_GAPS)):
        if first < len(row.ids):
            steps[rng.randrange(first, len(row.ids))] += rng.randint(1, WIDEST_GAP)
    return replace(row, positions=steps.cumsum(0))
