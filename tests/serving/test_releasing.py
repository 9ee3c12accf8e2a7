"""Nothing that is sent is ever taken back: for every search, whatever the model writes and the judge says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles import DreamEngine

from stepsight.assembly import SearchChoice
from stepsight.errors import EngineError
from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.pairwise import SelfJudge
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import Event, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search import STRATEGIES, strategy
from stepsight.serving.releasing import Release, pace

QUESTION = Question(id="q", text="How many?")


async def told(plan: SearchChoice, faulty: float) -> tuple[list[str], Trace, Release]:
    """What had been told after each event."""
    engine = DreamEngine(faulty=faulty)
    judge: Judge | None = None
    if plan.search in ("swires", "adaptive"):
        judge = LikelihoodJudge(cutoff=-6.0)
    elif plan.search not in ("greedy", "vote") and plan.settings.width > 1:
        judge = SelfJudge(engine, judge_prompts("short-2"))
    release, texts = Release(plan), [""]

    def watch(event: Event) -> None:
        texts.append(texts[-1] + release.take(event))

    trace = await strategy(plan.search)(QUESTION, engine, judge, replace(plan.settings, watch=watch))
    return texts, trace, release


@settings(max_examples=60)
@given(
    search=st.sampled_from(sorted(STRATEGIES)),
    width=st.integers(1, 4),
    survivors=st.integers(1, 4),
    seed=st.integers(0, 9999),
    faulty=st.sampled_from([0.0, 0.3]),
    most=st.none() | st.integers(1, 30),
)
async def test_what_is_told_is_a_beginning_of_the_answer(
    search: str, width: int, survivors: int, seed: int, faulty: float, most: int | None
) -> None:
    kept = min(survivors, width) if search == "stage-beam" else 1
    plan = SearchChoice(search, "self", SearchSettings(width, seed=seed, survivors=kept, answer_tokens=most))
    texts, trace, release = await told(plan, faulty)
    assert all(trace.text.startswith(text) for text in texts)
    assert texts[-1] + release.finish(trace) == trace.text == release.told
    if release.pace == "end":
        assert texts[-1] == ""
    if release.pace == "choices" and trace.text and not faulty and most is None:
        assert len(set(texts)) > 4


@pytest.mark.parametrize(
    ("search", "width", "survivors", "expected"),
    [
        ("greedy", 4, 1, "tokens"),
        ("best-of-n", 1, 1, "tokens"),
        ("stage-beam", 1, 1, "tokens"),
        ("sentence-beam", 1, 1, "choices"),
        ("sentence-beam", 4, 1, "choices"),
        ("stage-beam", 4, 1, "choices"),
        ("stage-beam", 4, 2, "end"),
        ("best-of-n", 4, 1, "end"),
        ("vote", 4, 1, "end"),
        ("swires", 4, 1, "summary"),
        ("adaptive", 1, 1, "summary"),
    ],
)
def test_when_text_becomes_final(search: str, width: int, survivors: int, expected: str) -> None:
    assert pace(SearchChoice(search, "self", SearchSettings(width, survivors=survivors))) == expected


async def test_a_search_that_retraces_tells_its_summary_at_once_and_nothing_that_it_may_replace() -> None:
    plan = SearchChoice("swires", "likelihood", SearchSettings())
    texts, trace, _ = await told(plan, 0.0)
    assert [text for text in dict.fromkeys(texts) if text] == [trace.candidates[0].piece.text]


def test_a_model_that_begins_anew_is_an_error_and_not_a_second_answer() -> None:
    release = Release(SearchChoice("greedy"))
    assert release.take(Event("text", None, text="I see")) == "I see"
    with pytest.raises(EngineError):
        release.take(Event("stage_chosen", None, answer="You see"))
