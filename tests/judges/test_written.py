"""The written verdict: read where it is clear, unreadable where it is not, and fair like its sibling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import quality

from stepsight.engines.scripted import SampleCall, ScriptedEngine
from stepsight.errors import EngineError
from stepsight.judges import WrittenJudge
from stepsight.judges.written import read_verdict
from stepsight.prompts import judge_prompts
from stepsight.protocols import Capabilities, Completion, OnText, SampleRequest, SampleResult
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.stages import Stage, render_stage

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),))
BLIND = Capabilities(prefix=False, logprobs=False, images=True, seeds=False)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("1", 0),
        ("2", 1),
        (" 2.\n", 1),
        ("**2**", 1),
        ("(1)", 0),
        ('"2"', 1),
        ("2. The first one miscounts 1 cube.", 1),
        ("2\n\nText 1 is wrong.", 1),
        ("The better text is 2.", 1),
        ("Text 1", 0),
        ("Answer: 2", 1),
        ("The first one is vague, so I choose response 2.", 1),
        ("Response 1 is longer. I choose response 1", 0),
        ("<think>1 looks good, I choose response 1</think>\n2", 1),
        ("", None),
        ("3", None),
        ("12", None),
        ("1.5", None),
        ("1 or 2", None),
        ("1 is worse than 2", None),
        ("It is not 1", None),
        ("Text 2 is better than text 1.", None),
        ("I choose response 1. No, I choose response 2.", None),
        ("I choose response 12", None),
        ("<think>I choose response 1", 0),
        ("I cannot help with that.", None),
    ],
)
def test_a_reply_is_read_only_where_it_is_clear(reply: str, choice: int | None) -> None:
    assert read_verdict(reply, ("1", "2")) == choice


@pytest.mark.parametrize(
    ("reply", "choice"),
    [("yes", 0), ("Yes.", 0), ("NO", 1), ("No, step 2 is wrong.", 1), ("The answer is no.", 1), ("yesterday", None)],
)
def test_yes_and_no_are_read_in_any_case(reply: str, choice: int | None) -> None:
    assert read_verdict(reply, ("yes", "no")) == choice


@given(st.text())
def test_no_text_breaks_the_reader(reply: str) -> None:
    assert read_verdict(reply, ("1", "2")) in (None, 0, 1)


def written(id: int, number: int, stage: Stage = Stage.CAPTION) -> Candidate:
    text = "\n\n" + render_stage(stage, f"text q{number}")
    return Candidate(id=id, stage=stage, slot=id, seed=id, piece=Piece(text=text), finish=Finish.STOP, tokens=1)


Say = Callable[[SampleRequest, int, int], str | Completion]


def judge(say: Say) -> WrittenJudge:
    return WrittenJudge(ScriptedEngine(say, capabilities=BLIND), judge_prompts("paper-1"))


def by_quality(request: SampleRequest, slot: int, seed: int) -> str:
    first, _, second = request.turns[0].text.partition("\n2:\n")
    return "1" if quality(first) > quality(second) else "I choose response 2"


@given(numbers=st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True))
async def test_it_orders_by_what_the_model_writes_without_log_probabilities(numbers: list[int]) -> None:
    verdict = await judge(by_quality).judge(
        QUESTION, Stage.CAPTION, (), [written(id, number) for id, number in enumerate(numbers)]
    )
    assert [numbers[id] for id in verdict.order] == sorted(numbers, reverse=True)
    assert (verdict.judge, verdict.ties, verdict.unreadable) == ("written", 0, 0)
    assert verdict.calls == len(numbers) * (len(numbers) - 1)


async def test_a_model_that_looks_at_the_place_alone_gives_ties_and_the_lower_id_stays() -> None:
    verdict = await judge(lambda request, slot, seed: "1").judge(
        QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)]
    )
    assert (verdict.order, verdict.ties) == ((0, 1), 1)
    assert verdict.comparisons[0].reason == "the two orders disagree"


async def test_an_unreadable_reply_speaks_for_nobody_and_is_kept() -> None:
    verdict = await judge(lambda request, slot, seed: "Both are fine.").judge(
        QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)]
    )
    assert (verdict.order, verdict.unreadable) == ((0, 1), 1)
    (comparison,) = verdict.comparisons
    assert comparison.outcome == "unreadable"
    assert comparison.reason == "a reply cannot be read as a verdict"
    assert comparison.evidence["said"] == {"forward": "Both are fine.", "backward": "Both are fine."}


async def test_a_reply_that_the_engine_gave_up_is_not_read() -> None:
    failed = Completion(Piece(text="1"), Finish.ERROR, 1)
    verdict = await judge(lambda request, slot, seed: failed).judge(
        QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)]
    )
    assert verdict.unreadable == 1


async def test_a_reasoning_is_screened_in_words_too() -> None:
    def say(request: SampleRequest, slot: int, seed: int) -> str:
        if "Reply with yes" in request.turns[0].text:
            assert not request.turns[0].images
            return "No, it is not." if "q9" in request.turns[0].text else "yes"
        return "1"

    asked = judge(say)
    verdict = await asked.judge(
        QUESTION,
        Stage.REASONING,
        [written(7, 0)],
        [written(0, 1, Stage.REASONING), written(1, 9, Stage.REASONING), written(2, 5, Stage.REASONING)],
    )
    assert verdict.order == (0, 2, 1)
    assert verdict.evidence["screen"]["1"]["said"] == "No, it is not."
    assert isinstance(asked.engine, ScriptedEngine)


async def test_prompts_and_replies_are_on_the_bill_and_replies_are_greedy() -> None:
    asked = judge(lambda request, slot, seed: "2 ")
    verdict = await asked.judge(QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)])
    assert isinstance(asked.engine, ScriptedEngine)
    samples = [call for call in asked.engine.calls if isinstance(call, SampleCall)]
    assert verdict.tokens == sum(call.result.computed + call.result.completions[0].tokens for call in samples)
    assert verdict.cached == sum(call.result.cached for call in samples)
    assert verdict.cached > 0
    assert {call.request.temperature for call in samples} == {0.0}
    assert {call.request.stop for call in samples} == {()}


async def test_a_failing_engine_is_one_error_and_ends_the_other_questions() -> None:
    ended: list[bool] = []

    class Failing(ScriptedEngine):
        async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
            if request.turns[0].text.index("q1") < request.turns[0].text.index("q9"):
                raise EngineError("it went away", retryable=True)
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)
            raise AssertionError

    failing = WrittenJudge(Failing(capabilities=BLIND), judge_prompts("paper-1"))
    with pytest.raises(EngineError, match="went away"):
        await failing.judge(QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)])
    assert ended == [True]
