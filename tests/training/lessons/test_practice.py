"""Practice is the same in any order of reading, and batches hold lessons of like length."""

from __future__ import annotations

import random
from typing import Any

import torch

from stepsight.training.encoding.exchange import Encoded
from stepsight.training.lessons.practice import WINDOW, Practice
from stepsight.training.recipe.data import WorldLessons

LESSONS = WorldLessons(mixture={"answer": 0.4, "caption": 0.3, "screen": 0.3}, seed=5)


def same(one: Encoded, other: Encoded) -> bool:
    pictures = one.pictures.keys() == other.pictures.keys() and all(
        torch.equal(value, other.pictures[name]) for name, value in one.pictures.items()
    )
    return pictures and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("ids", "labels", "weights")
    )


def test_any_order_of_reading_gives_the_same_rows(processor: Any) -> None:
    length = 2 * WINDOW * 2
    rows = list(map(Practice(LESSONS, processor, batch=2, length=length).__getitem__, range(length)))
    # Half windows, the second first, each shuffled: a window is drawn anew each time it is entered.
    orders = [list(range(start, start + WINDOW)) for start in range(0, length, WINDOW)][::-1]
    again = Practice(LESSONS, processor, batch=2, length=length)
    assert len(again) == length
    for order in orders:
        random.Random(0).shuffle(order)
        assert all(same(again[index], rows[index]) for index in order)
    other = Practice(LESSONS.model_copy(update={"seed": 6}), processor, batch=2, length=length)
    assert not all(same(other[index], rows[index]) for index in range(WINDOW))


def test_batches_hold_lessons_of_like_length(processor: Any) -> None:
    batch = 4
    practice = Practice(LESSONS, processor, batch=batch, length=batch * WINDOW)
    lengths = [len(practice[index].ids) for index in range(batch * WINDOW)]
    batches = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
    spread = sorted(lengths)
    assert sorted(map(sorted, batches)) == [spread[start : start + batch] for start in range(0, len(spread), batch)]
    assert batches != sorted(batches), "batches do not come in order of length"
