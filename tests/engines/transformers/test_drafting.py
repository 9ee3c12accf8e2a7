"""Guesses at what follows: what is written does not depend on them, and what was said before is found again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.transformers.test_exactness import conversations
from tests.engines.transformers.tiny import Tiny

from stepsight.engines.transformers import TransformersEngine, batch, drafting
from stepsight.engines.transformers.batch import Batch
from stepsight.engines.transformers.drafting import ORDERS, Memory, Tail, guess, longer
from stepsight.errors import InputError
from stepsight.protocols import SampleRequest, SampleResult, Turn


def books(engine: TransformersEngine) -> Batch:
    """The batch of an engine, which counts its steps and guesses."""
    return engine._worker._batch


def requests_of(pictures: list[Path]) -> list[SampleRequest]:
    return [
        SampleRequest(
            turns,
            seeds=tuple(range(1 + n % 3)),
            max_tokens=9 + 4 * n,
            temperature=(0.7, 0.0, 1.0)[n % 3],
            top_p=(0.9, 1.0)[n % 2],
        )
        for n, turns in enumerate(conversations(pictures)[:4])
    ]


async def ask(engine: TransformersEngine, requests: Sequence[SampleRequest]) -> list[SampleResult]:
    """One request after the other, so that few rows run and much is guessed."""
    return [await engine.sample(request) for request in requests]


def alike(found: Sequence[SampleResult], expected: Sequence[SampleResult]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [c.piece for c in one.completions] == [c.piece for c in other.completions]
        assert [(c.finish, c.tokens) for c in one.completions] == [(c.finish, c.tokens) for c in other.completions]
        told = [c.logprob for c in other.completions]
        assert [c.logprob for c in one.completions] == pytest.approx(told, abs=2e-3, rel=1e-4)


async def test_what_was_said_before_is_guessed_and_said_again_in_fewer_steps(
    tiny: Tiny, shared_prefix: str, pictures: list[Path]
) -> None:
    requests = requests_of(pictures)
    with tiny.engine(shared_prefix=shared_prefix, draft_tokens=0) as engine:
        expected = await ask(engine, requests)
        plain = books(engine).steps
        assert not books(engine).drafted
    with tiny.engine(shared_prefix=shared_prefix, draft_tokens=16) as engine:
        alike(await ask(engine, requests), expected)
        before, held = books(engine).steps, books(engine).held
        alike(await ask(engine, requests), expected)
        assert books(engine).held - held > plain // 4
        assert books(engine).steps - before < plain - plain // 4
        # Many at once, where rows join and leave beside rows that guess.
        alike(await asyncio.gather(*(engine.sample(request) for request in requests)), expected)


@pytest.mark.parametrize("room", [None, 2**16])
async def test_wrong_guesses_change_nothing(
    tiny: Tiny, shared_prefix: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    requests = requests_of(pictures)
    with tiny.engine(shared_prefix=shared_prefix, draft_tokens=0) as engine:
        expected = await ask(engine, requests)
    dice = random.Random(5)

    def wild(memories: Sequence[Memory], tail: Tail, most: int) -> list[int]:
        return [dice.randrange(200) for _ in range(dice.randint(0, max(0, most)))]

    monkeypatch.setattr(batch, "guess", wild)
    options: dict[str, Any] = {} if room is None else {"rows_gb": room / 2**30}
    with tiny.engine(shared_prefix=shared_prefix, draft_tokens=40, **options) as engine:
        alike(await ask(engine, requests), expected)
        alike(await asyncio.gather(*(engine.sample(request) for request in requests)), expected)
        assert books(engine).drafted > books(engine).held


async def test_a_guess_beyond_the_context_is_not_made(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1, 2), max_tokens=4000, temperature=0.9)
    with llava.engine(draft_tokens=0) as engine:
        expected = await engine.sample(request)
    with llava.engine(draft_tokens=24) as engine:
        for _ in range(2):
            alike([await engine.sample(request)], [expected])


def test_fewer_than_no_tokens_are_refused(llava: Tiny) -> None:
    with pytest.raises(InputError, match="draft_tokens"):
        llava.engine(draft_tokens=-1)


TEXT = st.lists(st.integers(0, 3), max_size=60)


@given(TEXT, TEXT, st.integers(0, 9))
def test_a_guess_is_what_came_behind_the_same_tokens(first: list[int], second: list[int], most: int) -> None:
    own, other = Memory(), Memory()
    tail = own.read(first)
    other.read(second)
    made = guess((own, other), tail, most)
    assert len(made) <= most
    for token in made:
        shortest = tail[-ORDERS[-1] :]
        places = [text[n : n + len(shortest) + 1] for text in (first, second) for n in range(len(text))]
        assert [*shortest, token] in places
        tail = longer(tail, token)


@given(st.lists(st.integers(0, 10**6), min_size=2 * ORDERS[0], max_size=40, unique=True))
def test_a_text_said_once_is_guessed_to_its_end(text: list[int]) -> None:
    memory = Memory()
    memory.read(text)
    begun = tuple(text[: ORDERS[0]])
    assert guess((memory,), begun, 99) == text[ORDERS[0] :]


def test_what_hardly_ever_held_is_not_guessed() -> None:
    memory = Memory()
    for token in range(20):
        memory.learn((1, 2), token)
    assert guess((memory,), (1, 2), 3) == []
    for _ in range(20):
        memory.learn((1, 2), 7)
    assert guess((memory,), (1, 2), 1) == [7]


def test_a_memory_forgets_what_is_old_and_keeps_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "_ENTRIES", 200)
    memory = Memory()
    memory.learn((1, 2), 3)
    memory.learn((8, 9), 5)
    for number in range(1000):
        memory.learn((100 + number, 7), 1)
        memory.learn((1, 2), 3)
        assert len(memory.young) + len(memory.old) <= 202
    assert guess((memory,), (1, 2), 1) == [3]
    assert guess((memory,), (8, 9), 1) == []
