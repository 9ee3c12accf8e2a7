"""The fake keeps to its script and to the manners of a real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.engines.scripted import PICTURE_TOKENS, SampleCall, ScoreCall, ScriptedEngine, tokens_of
from stepsight.errors import EngineError, InputError
from stepsight.protocols import Capabilities, Completion, Engine, SampleRequest, ScoreRequest, Turn
from stepsight.records import Finish, Piece

TURNS = (Turn("user", "What is it?", (Path("a.png"),)),)


def ask(seeds: int = 1, **options: Any) -> SampleRequest:
    return SampleRequest(TURNS, seeds=tuple(range(seeds)), **options)


async def test_the_script_is_used_in_order_and_everything_is_recorded() -> None:
    engine: Engine = ScriptedEngine(["a", "b", "c"], scores=[(-1.0, -2.0)])
    assert isinstance(engine, ScriptedEngine)
    first = await engine.sample(ask(2))
    second = await engine.sample(ask())
    request = ScoreRequest(TURNS, ("1", "2"))
    scored = await engine.score([request])
    assert [c.piece.text for c in (*first.completions, *second.completions)] == ["a", "b", "c"]
    assert scored[0].logprobs == (-1.0, -2.0)
    assert engine.calls == [SampleCall(ask(2), first), SampleCall(ask(), second), ScoreCall((request,), tuple(scored))]
    assert engine.left == (0, 0)


async def test_a_dry_script_says_what_was_asked_and_uses_up_nothing() -> None:
    engine = ScriptedEngine(["a"], scores=[])
    with pytest.raises(EngineError, match="1 continuations left, 2 are asked for"):
        await engine.sample(ask(2))
    with pytest.raises(EngineError, match="0 score rows left, 1 are asked for"):
        await engine.score([ScoreRequest(TURNS, ("1",))])
    assert (await engine.sample(ask())).completions[0].piece.text == "a"
    with pytest.raises(InputError, match="scores 1 options, the request has 2"):
        await ScriptedEngine(scores=[(0.0,)]).score([ScoreRequest(TURNS, ("1", "2"))])


async def test_functions_see_the_request_the_slot_and_the_seed() -> None:
    made = Completion(Piece(text="x", ids=(1,)), Finish.ERROR, 1, -0.5)
    engine = ScriptedEngine(
        lambda request, slot, seed: made if slot else f"{request.turns[0].text} {seed}",
        scores=lambda request: [float(len(option)) for option in request.options],
    )
    result = await engine.sample(SampleRequest(TURNS, seeds=(7, 8)))
    assert result.completions[0].piece.text == "What is it? 7"
    assert result.completions[1] is made
    assert (await engine.score([ScoreRequest(TURNS, ("a", "bcd"))]))[0].logprobs == (1.0, 3.0)


@settings(deadline=None)
@given(text=st.text(alphabet="ab .<", max_size=40), limit=st.integers(1, 8))
def test_stop_and_length_are_honoured(text: str, limit: int) -> None:
    engine = ScriptedEngine([text])
    completion = asyncio.run(engine.sample(ask(stop=("<", "b."), max_tokens=limit))).completions[0]
    said = completion.piece.text
    assert text.startswith(said)
    assert completion.tokens == len(tokens_of(said)) <= limit
    ends = [text.find(stop) + len(stop) for stop in ("<", "b.") if stop in text]
    whole = text[: min(ends)] if ends else text
    assert (said == whole) == (completion.finish is Finish.STOP)
    assert completion.finish is not Finish.LENGTH or completion.tokens == limit


async def test_texts_are_streamed_slot_by_slot() -> None:
    heard: list[tuple[int, str]] = []
    engine = ScriptedEngine(["one two", "three"], yields=3)
    await engine.sample(ask(2), lambda slot, text: heard.append((slot, text)))
    assert heard == [(0, "one"), (1, "three"), (0, " "), (0, "two")]


async def test_prompts_are_counted_once_and_pictures_are_told_apart() -> None:
    engine = ScriptedEngine(lambda request, slot, seed: "well then", scores=lambda request: [0.0])
    size = 2 + PICTURE_TOKENS + len(tokens_of("What is it?"))
    first = await engine.sample(ask(2))
    assert (first.computed, first.cached) == (size, 0)
    stage = await engine.sample(ask(prefix=(first.completions[0].piece,)))
    assert (stage.computed, stage.cached) == (0, size + 3)
    other = await engine.sample(SampleRequest((Turn("user", "What is it?", (Path("b.png"),)),), seeds=(1,)))
    assert (other.computed, other.cached) == (size - 1, 1)
    [judged] = await engine.score([ScoreRequest((Turn("user", "What is it? 1 or 2", TURNS[0].images),), ("1",))])
    assert judged.cached == size - 1


async def test_waiting_lets_others_run_and_changes_nothing() -> None:
    engine = ScriptedEngine(["a", "b"], yields=5)
    results = await asyncio.gather(engine.sample(ask()), engine.sample(ask()))
    assert [result.completions[0].piece.text for result in results] == ["a", "b"]


def test_it_claims_what_it_is_told_to() -> None:
    less = Capabilities(prefix=False, logprobs=False, images=True, seeds=False)
    assert ScriptedEngine(capabilities=less, name="poor").capabilities == less
    assert ScriptedEngine(name="poor").name == "poor"
    assert ScriptedEngine().capabilities.prefix
