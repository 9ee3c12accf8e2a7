"""How long a recipe's rows are, and batches of such rows: measured where rows and processor are here, else assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from statistics import mean
from typing import Any

import torch
from PIL import Image

from stepsight.errors import InputError, ModelError
from stepsight.training.encoding.exchange import IGNORED, Encoded, collate
from stepsight.training.lessons.practice import Practice
from stepsight.training.plan.outline import Outline
from stepsight.training.plan.records import Lengths
from stepsight.training.plan.shadow import ShadowPlay
from stepsight.training.recipe.data import StagedRows, WorldLessons
from stepsight.training.recipe.train import TrainRecipe
from stepsight.training.rows.dataset import StagedDataset

MOST = 128
"""So many rows are encoded to measure them."""
STEP = 32
"""Batches are padded to a multiple of so many tokens (`encoding.collate`)."""

PAPER_ROWS = 99_000
"""Rows of LLaVA-CoT-100k (arXiv 2411.10440, Table 1)."""
ROUNDS, ASKED, ANSWERED, FRAME = 1.5, 50, 230, 30
"""What a row of it is taken to be: questions with their staged answers, tokens of each, and of the chat template. The
few answers that are quoted in public have 640 to 1,140 letters, of which 4 to 5 make a token; rows have one or more
rounds."""
LONGEST = 2_000
"""Tokens of text of the longest row, unless the recipe has a bound."""
PICTURE = (640, 480)
"""Width and height of a picture that is not here: most of the paper's are from COCO, and have that size."""

Batches = Callable[[int, int, int], dict[str, torch.Tensor]]
"""From a number of rows, their length and how many tokens of each are learned to a batch."""


@dataclass(frozen=True)
class Rows:
    """Lengths of rows, batches of them, and what had to be assumed."""

    lengths: Lengths
    batches: Batches
    assumptions: tuple[str, ...] = ()


def look_at_rows(recipe: TrainRecipe, outline: Outline, together: int) -> Rows:
    """Measure a recipe's rows, or assume what they are like.

    Args:
        recipe: with data of rows or of lessons.
        outline: of its model.
        together: rows that are padded to a common length.

    Raises:
        InputError: the rows are here and cannot be read.
        ModelError: neither the processor nor what it makes of pictures is known.
    """
    data = recipe.data
    if outline.processor is not None and isinstance(data, WorldLessons):
        batch = recipe.optimisation.batch
        lessons = Practice(data, outline.processor, batch=batch, length=MOST)
        return _measured([lessons[index] for index in range(MOST)], outline, together, None, "lessons that were drawn")
    if not isinstance(data, StagedRows):
        raise InputError("only rows and lessons can be planned", hint="plan a recipe of task: sft")
    if outline.processor is not None and data.rows.exists():
        return _measured_rows(data, outline, together)
    missing = "there is no tokenizer for them here" if data.rows.exists() else f"{data.rows} is not here"
    return _assumed(data, outline, together, missing)


def _measured_rows(data: StagedRows, outline: Outline, together: int) -> Rows:
    rows = StagedDataset(data, outline.processor, length=MOST)
    taken = [rows[index] for index in range(min(MOST, len(rows.rows)))]
    # An epoch of packed rows has fewer items than the file has rows.
    found = _measured(taken, outline, together, getattr(rows, "per_epoch", len(rows.rows)), str(data.rows))
    beyond = sum(len(row.ids) > (data.context or len(row.ids)) for row in taken)
    beyond += getattr(rows, "cut", 0) + getattr(rows, "left_out", 0)
    return replace(found, lengths=found.lengths.model_copy(update={"shortened": beyond}))


def _measured(rows: Sequence[Encoded], outline: Outline, together: int, number: int | None, source: str) -> Rows:
    lengths = [len(row.ids) for row in rows]
    groups = [lengths[start : start + together] for start in range(0, len(lengths), together)]
    pad = outline.processor.tokenizer.pad_token_id
    found = Lengths(
        measured=True,
        source=f"{len(rows)} {source}" if number is None else f"{len(rows)} of {number:,} rows of {source}",
        rows=number,
        tokens=mean(lengths),
        learned=mean(int((row.labels != IGNORED).sum()) for row in rows),
        padded=sum(len(group) * _up(max(group)) for group in groups) / len(lengths),
        longest=max(lengths),
    )
    return Rows(found, partial(_like, tuple(rows), pad))


def _like(rows: Sequence[Encoded], pad: int, number: int, length: int, learned: int) -> dict[str, torch.Tensor]:
    """So many copies of the row whose length comes nearest, among those that do not exceed it if there are any."""
    nearest = min(rows, key=lambda row: (len(row.ids) > length, abs(len(row.ids) - length)))
    return collate([nearest] * number, pad)


def _assumed(data: StagedRows, outline: Outline, together: int, missing: str) -> Rows:
    shown, batches = _pictured(outline)
    text = round(ROUNDS * (ASKED + ANSWERED) + FRAME)
    bound = data.context or shown + LONGEST
    tokens = min(shown + text, bound)
    learned = min(round(ROUNDS * ANSWERED), tokens - 1)
    if data.packed:
        share = bound // tokens
        tokens, learned = share * tokens, share * learned
    lengths = Lengths(
        measured=False,
        source=missing,
        rows=PAPER_ROWS,
        tokens=tokens,
        learned=learned,
        padded=_up(tokens),
        longest=bound,
    )
    said = (
        f"rows: {missing}, so {PAPER_ROWS:,} are assumed, as in the paper",
        f"a row: {ROUNDS:g} questions of {ASKED} and answers of {ANSWERED} tokens, {FRAME} of the template; {bound:,} "
        "at most",
        f"its picture: {PICTURE[0]} x {PICTURE[1]} pixels, which makes {shown} {'token' if shown == 1 else 'tokens'}",
    )
    return Rows(lengths, batches, said)


def _pictured(outline: Outline) -> tuple[int, Batches]:
    """The tokens of an assumed picture, and batches of rows with one each."""
    if outline.image_processor is None:
        raise ModelError(
            f"what {outline.name} makes of pictures is not known here",
            hint="give --config FOLDER, with its config.json and preprocessor_config.json",
        )
    model = outline.model
    takes = set(signature(model.base_model.forward).parameters)
    made = outline.image_processor(images=[[Image.new("RGB", PICTURE)]], return_tensors="pt")
    pictures = {name: value for name, value in made.items() if name in takes and isinstance(value, torch.Tensor)}
    beside = "cross_attention_mask" in takes
    shown = 1 if beside else _count_features(model, pictures)
    placeholder = int(model.config.image_token_id)

    def batches(number: int, length: int, learned: int) -> dict[str, torch.Tensor]:
        ids = torch.zeros(number, length, dtype=torch.long)
        ids[:, :shown] = placeholder
        labels = torch.full_like(ids, IGNORED)
        labels[:, max(length - learned, 1) :] = 0
        batch = {"input_ids": ids, "labels": labels, "weights": (labels != IGNORED).float()}
        batch |= {name: torch.cat([value] * number) for name, value in pictures.items()}
        if beside:
            tiles = pictures["aspect_ratio_mask"].shape[-1]
            batch["cross_attention_mask"] = torch.ones(number, length, 1, tiles, dtype=torch.long)
        for kinds in takes & {"mm_token_type_ids", "token_type_ids"}:
            batch[kinds] = (ids == placeholder).long()
        return batch

    return shown, batches


def _count_features(model: Any, pictures: dict[str, torch.Tensor]) -> int:
    """How many places of a row its picture takes: one for each feature that the vision tower gives."""
    play = ShadowPlay()
    play.cast(model)
    takes = set(signature(model.get_image_features).parameters)
    with torch.no_grad(), play:
        found = model.get_image_features(**{name: value for name, value in pictures.items() if name in takes})
    found = getattr(found, "pooler_output", found)
    features = [found] if isinstance(found, torch.Tensor) else list(found)
    return sum(one[..., 0].numel() for one in features)


def _up(length: float) -> int:
    """The next multiple of `STEP`."""
    return int(-(-length // STEP) * STEP)
