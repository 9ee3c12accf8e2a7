"""Engines of one process divide what memory is free; none is promised what another one was."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
import torch
from tests.engines.transformers.tiny import Tiny

from stepsight.engines.transformers import room
from stepsight.engines.transformers.room import room_for_rows
from stepsight.findings import Memory

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(room, "_promised", type(room._promised)())
    monkeypatch.setattr(room, "look_at_memory", lambda: Memory(total=100_000, free=80_000))
    return 80_000


def test_engines_together_are_promised_less_than_is_free(free: int, tiny: Tiny) -> None:
    given = []
    engines = []
    for _ in range(5):
        given.append(room_for_rows(CPU))
        engines.append(tiny.engine())
    assert given[0] == free // 2
    assert all(later < sooner for sooner, later in pairwise(given))
    assert sum(given) < free
    del engines
    gc.collect()
    assert room_for_rows(CPU) == free // 2


@pytest.mark.parametrize("alike", [1, 2, 4])
def test_processes_that_do_the_same_share(free: int, tiny: Tiny, alike: int) -> None:
    assert room_for_rows(CPU, alike) == free // alike // 2
    engine = tiny.engine(rows_gb=8_000 / 2**30)
    assert room_for_rows(CPU, alike) == (free // alike - 8_000) // 2
    del engine


def test_more_promised_than_is_free_leaves_something_to_work_with(free: int, tiny: Tiny) -> None:
    engine = tiny.engine(rows_gb=2 * free / 2**30)
    assert room_for_rows(CPU) == 1
    del engine


def test_where_nobody_knows_what_is_free_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "look_at_memory", lambda: Memory(total=None, free=None))
    assert room_for_rows(CPU) >= 2**60
