"""Rows within a number of tokens: cut behind it, or put behind one another up to it.

Conversations behind one another are exact: positions begin anew with each, and from that the library sees that none
looks at another. Nothing is gained but the padding, and something is lost: attention runs over the whole length, of
which most is masked, unless its implementation leaves out what is (flash attention does).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from stepsight.errors import ModelError, TooLongError
from stepsight.training.encoding.exchange import IGNORED, Encoded
from stepsight.training.encoding.families import layout_of
from stepsight.training.encoding.pictured import facts_of_rows, together


def check_packing(processor: Any) -> None:
    """Make sure that rows of a family can stand behind one another.

    Raises:
        ModelError: they cannot, for the reason that it gives.
    """
    reason = layout_of(processor).unpackable
    if reason:
        raise ModelError(
            f"rows for models with a {type(processor).__name__} cannot be packed: {reason}",
            hint="set packed to false; sorted_by_length saves most of the padding",
        )


def cut(row: Encoded, context: int) -> Encoded:
    """The first `context` tokens of a row.

    Raises:
        TooLongError: its picture does not fit, or nothing that is learned is left.
    """
    if len(row.ids) <= context:
        return row
    # The first token is never learned: there is nothing that it follows.
    learned = (row.labels[1:] != IGNORED).nonzero()
    check_cut(row.pictured, int(learned[0]) + 1 if len(learned) else len(row.ids), context)
    return replace(
        row,
        ids=row.ids[:context],
        labels=row.labels[:context],
        weights=row.weights[:context],
        of_tokens={name: value[:context] for name, value in row.of_tokens.items()},
        marks=None if row.marks is None else row.marks[:context],
        positions=None if row.positions is None else row.positions[..., :context],
    )


def check_cut(pictured: int, given: int, context: int) -> None:
    """Make sure that a row can be cut behind `context` tokens.

    Args:
        pictured: tokens up to the end of its picture.
        given: tokens before the first that is learned.
        context: the most tokens a row may have.

    Raises:
        TooLongError: its picture does not fit, or nothing that is learned is left.
    """
    if pictured > context:
        reason = f"its picture ends at token {pictured}, and at most {context} fit"
    elif given >= context:
        reason = f"nothing is learned among its first {context} tokens"
    else:
        return
    raise TooLongError(reason, hint="raise `context`, or make pictures smaller")


def join(processor: Any, rows: Sequence[Encoded]) -> Encoded:
    """Conversations behind one another, as one row."""
    layout = layout_of(processor)
    ids = [row.ids for row in rows]
    positions = [layout.positions(processor, row.ids, row.pictures) for row in rows]
    facts = facts_of_rows([row.of_tokens for row in rows], [len(row.ids) for row in rows], max(map(len, ids)))
    return Encoded(
        ids=torch.cat(ids),
        # What a conversation begins with is not learned as what the one before it goes on with.
        labels=torch.cat([_first(row.labels, IGNORED) for row in rows]),
        weights=torch.cat([_first(row.weights, 0.0) for row in rows]),
        pictures=together([row.pictures for row in rows]),
        of_tokens={
            name: torch.cat([value[place, : len(row)] for place, row in enumerate(ids)])
            for name, value in facts.items()
        },
        positions=torch.cat(positions, dim=-1),
        pictured=max(row.pictured for row in rows),
        conversations=len(rows),
    )


def _first(values: torch.Tensor, value: float) -> torch.Tensor:
    values = values.clone()
    values[0] = value
    return values


def pack(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Which rows go behind one another: each to where the least room is left that it still fits in, the longest first.

    Args:
        lengths: of rows, in tokens.
        context: the most tokens that go behind one another.

    Returns:
        Places in `lengths`, each once.
    """
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # of each bin the room that is left, and its number; ascending
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        found = bisect_left(rooms, (lengths[place], -1))
        if found == len(rooms):
            bins.append([place])
            insort(rooms, (context - lengths[place], len(bins) - 1))
        else:
            room, number = rooms.pop(found)
            bins[number].append(place)
            insort(rooms, (room - lengths[place], number))
    return bins
