"""From an exchange to tokens, labels and weights: loss on assistant tokens and their end of turn only.

The text is tokenised as a whole, as the template writes it, so that tokens are those of the model's later prompts. It
is parted only where a model is asked from: where no token may lie across, and where it goes on from given words.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import torch
from PIL import Image

from stepsight.engines.transformers.pictures import prepare
from stepsight.errors import ModelError, PictureError
from stepsight.training.encoding.chat import Exchange, Stretch, written
from stepsight.training.encoding.families import layout_of, placeholder_of
from stepsight.training.encoding.pictured import facts_of_rows, pictures_of_rows
from stepsight.world.lessons import Span
from stepsight.world.marking import Mark

IGNORED = -100
"""The label of a token without loss, as in torch's cross entropy."""
MOST_GAPS = 6
WIDEST_GAP = 40
"""Between the positions of a stretched row, in tokens."""


@dataclass(frozen=True)
class Encoded:
    """One conversation as tensors, or several behind one another (`packing.join`).

    Attributes:
        ids: [tokens] int64, pictures expanded to their placeholder tokens.
        labels: [tokens] int64; `IGNORED` on user, header, picture and given tokens.
        weights: [tokens] float32, the weight of each label's loss.
        pictures: what the processor makes of the pictures, by the names that the model knows; empty without any.
        of_tokens: what the model wants to know of each token, [tokens, ...], by its names.
        marks: [tokens] int64, or None: 1 where a word of a judged text ends that is right, 0 where it is wrong,
            `IGNORED` elsewhere.
        positions: [tokens] or [axes, tokens] int64, or None: where each token stands, if they do not simply follow one
            another.
        pictured: how many tokens there are up to the end of the picture, with what encloses it; 0 without one.
        conversations: how many stand behind one another.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    pictures: dict[str, torch.Tensor] = field(default_factory=dict)
    of_tokens: dict[str, torch.Tensor] = field(default_factory=dict)
    marks: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    pictured: int = 0
    conversations: int = 1


def encode_exchange(processor: Any, user: str, picture: Image.Image | None, spans: Sequence[Span]) -> Encoded:
    """Encode one user turn and the assistant's reply; see `encode_conversation`."""
    return encode_conversation(processor, [(user, spans)], picture)


def encode_conversation(
    processor: Any, exchanges: Sequence[Exchange], picture: Image.Image | None, *, system: str | None = None
) -> Encoded:
    """Encode user turns and the assistant's replies in turn, as the chat template writes them.

    Args:
        processor: of the model in training.
        exchanges: text of a user turn, and the reply's text; spans of weight 0 are given and not learned.
        picture: RGB picture or None; it stands first in the first user turn.
        system: text of a system turn before all others.

    Raises:
        ValueError: nothing is left to learn.
        InputError: the template refuses the conversation or the processor the picture, or a text holds the model's own
            mark for pictures.
        ModelError: the family is not known to be exact, or the template rewrites earlier turns or replies (then they
            would not be what the model sees later).
    """
    layout = layout_of(processor)
    stretches = written(processor, exchanges, picture=picture is not None, system=system)
    pictures: dict[str, torch.Tensor] = {}
    expansion = ""
    if picture is not None:
        expansion, pictures = prepared(processor, picture)
    told, weights, pictured = tokens_of(processor, stretches, expansion)
    if not any(weights):
        raise ValueError("an exchange without anything to learn")
    ids, weighed = torch.tensor(told), torch.tensor(weights)
    of_tokens = layout.of_tokens(processor, ids, pictures)
    pictures.pop("num_tiles", None)
    return Encoded(ids, ids.where(weighed > 0, IGNORED), weighed, pictures, of_tokens, pictured=pictured)


def prepared(processor: Any, picture: Image.Image) -> tuple[str, dict[str, torch.Tensor]]:
    """The text that stands for a picture, and what the model takes of it.

    Raises:
        PictureError: the processor refuses it, for its shape mostly.
    """
    try:
        return prepare(processor, picture)
    except ValueError as error:
        raise PictureError(f"the model's processor refuses the picture: {error}", hint="crop or scale it") from error


def tokens_of(processor: Any, stretches: Sequence[Stretch], expansion: str = "") -> tuple[list[int], list[float], int]:
    """Tokens of a conversation, the weight of each, and how many there are up to the end of the picture.

    Args:
        processor: of the model in training.
        stretches: the conversation.
        expansion: the text that stands for its picture.

    Raises:
        ModelError: the tokenizer takes placeholders of pictures apart.
    """
    mark, shown_end = str(processor.image_token), -1
    texts = [one.text for one in stretches]
    for number, text in enumerate(texts if expansion else ()):
        if mark in text:
            texts[number] = text.replace(mark, expansion)
            shown_end = sum(map(len, texts[:number])) + text.index(mark) + len(expansion)
    ends = list(accumulate(map(len, texts)))
    starts = [0, *ends[:-1]]
    whole = "".join(texts)
    cuts = {start for start, one in zip(starts, stretches, strict=True) if one.splits}
    opens = {start for start, one in zip(starts, stretches, strict=True) if one.opens}
    while True:
        ids, spans = _tokenised(processor.tokenizer, whole, sorted(cuts))
        across = {place for place in opens - cuts for start, end in spans if start < place < end}
        if not across:
            break
        cuts |= across
    weights, stretch = [], 0
    for start, end in spans:
        while end > start >= ends[stretch]:
            stretch += 1
        # What a tokenizer adds by itself has no width.
        weights.append(stretches[stretch].weight if end > start else 0.0)
    pictured = sum(start < shown_end for start, _ in spans)
    placeholder = placeholder_of(processor)
    if expansion and ids.count(placeholder) != expansion.count(processor.tokenizer.convert_ids_to_tokens(placeholder)):
        raise ModelError(
            "the tokenizer does not keep the picture placeholders whole",
            hint="they must be special tokens of the tokenizer",
        )
    return ids, weights, pictured


def _tokenised(tokenizer: Any, text: str, cuts: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of a text that is parted at `cuts`, each with its first and last place in the text."""
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        bos = tokenizer.bos_token
        special = not start and not (bos and text.startswith(bos))
        piece = tokenizer(text[start:end], add_special_tokens=special, return_offsets_mapping=True)
        ids += piece["input_ids"]
        spans += [(start + first, start + last) for first, last in piece["offset_mapping"]]
    return ids, spans


def collate(rows: Sequence[Encoded], pad: int, multiple: int = 8) -> dict[str, torch.Tensor]:
    """Pad on the right to a common length.

    No attention mask is needed: attention is causal (Gemma's pictures apart, which are never padding), and what follows
    a row's end is never looked at.

    Args:
        rows: a batch.
        pad: the token to pad with.
        multiple: of which the length is one.

    Returns:
        `input_ids`, `labels`, `weights`: [rows, length]; what the processor makes of pictures, as the model takes it;
        what the model wants to know of each token, [rows, length, ...]; `position_ids` and `attention_mask`: [rows,
        length], if a row has positions of its own; of conversations behind one another `position_ids` alone, from
        which the library sees where one ends ([4, rows, length] where positions have axes).
    """
    length = -(-max(len(row.ids) for row in rows) // multiple) * multiple

    def pad_to(values: torch.Tensor, filler: float) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, length - values.shape[-1]), value=filler)

    batch: dict[str, torch.Tensor] = {
        "input_ids": torch.stack([pad_to(row.ids, pad) for row in rows]),
        "labels": torch.stack([pad_to(row.labels, IGNORED) for row in rows]),
        "weights": torch.stack([pad_to(row.weights, 0.0) for row in rows]),
    }
    if any(row.marks is not None for row in rows):
        unmarked = torch.full((1,), IGNORED)
        batch["marks"] = torch.stack([pad_to(unmarked if row.marks is None else row.marks, IGNORED) for row in rows])
    if any(row.positions is not None for row in rows):
        axes = next(row.positions.shape[:-1] for row in rows if row.positions is not None)
        plain = torch.arange(length).expand(*axes, length)
        given = [plain if row.positions is None else pad_to(row.positions, 0) for row in rows]
        batch["position_ids"] = torch.stack(given, dim=-2)
        if all(row.conversations == 1 for row in rows):
            # Without a mask the library takes a gap for the beginning of another sequence.
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    facts = facts_of_rows([row.of_tokens for row in rows], [len(row.ids) for row in rows], length)
    return batch | facts | pictures_of_rows([row.pictures for row in rows])


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


def stretch(row: Encoded, rng: random.Random) -> Encoded:
    """Put gaps between the positions of a row's text, as if more had been written there.

    What is learned then depends less on how far apart things stand, and holds for longer texts than those of the
    lessons (randomised positions: Ruoss et al., arXiv 2305.16843).

    Args:
        row: an exchange, encoded; its picture's tokens stay together.
        rng: says where the gaps are and how wide.
    """
    first = row.pictured or 1
    steps = torch.ones_like(row.ids)
    steps[0] = 0
    for _ in range(rng.randint(1, MOST_GAPS)):
        if first < len(row.ids):
            steps[rng.randrange(first, len(row.ids))] += rng.randint(1, WIDEST_GAP)
    return replace(row, positions=steps.cumsum(0))


def check_stretch(processor: Any) -> None:
    """Make sure that a model's positions can be stretched.

    Raises:
        ModelError: they have axes.
    """
    if layout_of(processor).grid:
        raise ModelError(
            "the positions of this model's pictures have rows and columns, which cannot be stretched",
            hint="leave out `stretched`",
        )
