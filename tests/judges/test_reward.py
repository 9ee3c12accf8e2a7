"""The judge that asks a reward model: what it asks about, and how values become an order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import EVERYTHING, DreamEngine, log_odds, quality

from stepsight.errors import CapabilityError
from stepsight.judges import RewardJudge, WordsReward
from stepsight.judges.reward import Gather
from stepsight.protocols import (
    Adaptive,
    Completion,
    Event,
    SampleRequest,
    ScoreRequest,
    SearchSettings,
    ValueRequest,
    ValueResult,
)
from stepsight.records import Candidate, Finish, Piece, Question, Trace
from stepsight.search import adaptive, swires
from stepsight.stages import STAGES, Stage, conclusion, render, render_stage

QUESTION = Question(id="q", text="How many?")


def said(request: ValueRequest) -> str:
    return "".join(piece.text for piece in request.answer)


@dataclass
class Appraiser:
    """Values an answer by its last quality, and remembers what it was asked."""

    asked: list[str] = field(default_factory=list)
    name: str = "appraiser"

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        self.asked += map(said, requests)
        return [ValueResult(quality(said(request)) / 10 - 5, computed=3, cached=2) for request in requests]


def candidate(id: int, stage: Stage | None, text: str, **changes: object) -> Candidate:
    made = Candidate(id=id, stage=stage, slot=id, seed=0, piece=Piece(text=text), finish=Finish.STOP, tokens=1)
    return made.model_copy(update=changes)


def written(stage: Stage, id: int, grade: int) -> Candidate:
    return candidate(id, stage, render_stage(stage, f"text q{grade}"))


@given(grades=st.lists(st.integers(0, 99), min_size=1, max_size=8), data=st.data())
async def test_candidates_are_ordered_by_value_whatever_their_order(grades: list[int], data: st.DataObject) -> None:
    stage = Stage.CAPTION
    drawn = data.draw(st.permutations([written(stage, id, grade) for id, grade in enumerate(grades)]))
    verdict = await RewardJudge(Appraiser()).judge(QUESTION, stage, [written(Stage.SUMMARY, 90, 1)], drawn)
    assert verdict.order == tuple(sorted(range(len(grades)), key=lambda id: (-grades[id], id)))
    assert verdict.scores == tuple(grades[id] / 10 - 5 for id in verdict.order)
    # What is said twice is asked about once, and everything that was computed is told.
    assert (verdict.calls, verdict.tokens, verdict.cached) == tuple(len(set(grades)) * each for each in (1, 3, 2))
    assert verdict.ties == len(grades) - len(set(grades))


async def test_malformed_candidates_come_last_and_are_not_asked_about() -> None:
    cut = candidate(0, Stage.CAPTION, "<CAPTION> q99", finish=Finish.LENGTH)
    model = Appraiser()
    verdict = await RewardJudge(model).judge(QUESTION, Stage.CAPTION, (), [cut, written(Stage.CAPTION, 1, 5)])
    assert verdict.order == (1, 0)
    assert verdict.scores == (-4.5, -math.inf)
    assert verdict.evidence["malformed"] == {"0": "cut off at the token limit"}
    assert len(model.asked) == 1
    assert (await RewardJudge(model).judge(QUESTION, Stage.CAPTION, (), [cut])).order == (0,)


async def test_a_product_is_the_log_probability_that_all_stages_are_right() -> None:
    line = [written(Stage.SUMMARY, 0, 90), written(Stage.CAPTION, 1, 30)]
    model = Appraiser()
    judge = RewardJudge(model, gather="product")
    verdict = await judge.judge(QUESTION, Stage.REASONING, line, [written(Stage.REASONING, id, id) for id in (40, 60)])
    assert verdict.order == (60, 40)
    expected = [sum(math.log(1 / (1 + math.exp(5 - grade / 10))) for grade in (90, 30, last)) for last in (60, 40)]
    assert verdict.scores == pytest.approx(expected)
    # What both continue is asked about once.
    assert len(model.asked) == len(set(model.asked)) == 4
    assert verdict.evidence["values"]["40"] == pytest.approx([4.0, -2.0, -1.0])


async def test_a_whole_answer_is_valued_at_the_end_of_each_stage() -> None:
    text = render({stage: f"text q{10 * place}" for place, stage in enumerate(STAGES)})
    model = Appraiser()
    await RewardJudge(model, gather="product").judge(QUESTION, None, (), [candidate(0, None, text)])
    assert [asked.rstrip().rpartition("</")[2] for asked in model.asked] == [f"{stage}>" for stage in STAGES]
    assert all(text.startswith(asked) for asked in model.asked)
    last = Appraiser()
    await RewardJudge(last).judge(QUESTION, None, (), [candidate(0, None, text)])
    assert last.asked == [text]


@pytest.mark.parametrize("value", [-800.0, 800.0])
async def test_values_beyond_what_an_exponential_holds_are_sound(value: float) -> None:
    class Certain(Appraiser):
        async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
            return [ValueResult(value) for _ in requests]

    judge = RewardJudge(Certain(), gather="product")
    verdict = await judge.judge(QUESTION, Stage.SUMMARY, (), [written(Stage.SUMMARY, 0, 1)])
    assert verdict.scores == (min(value, 0.0),)


async def test_words_are_read_as_log_odds_behind_the_answer() -> None:
    def scorer(request: ScoreRequest) -> tuple[float, ...]:
        assert request.options == (" good", " bad")
        return log_odds(quality("".join(piece.text for piece in request.prefix)) / 10)

    engine = DreamEngine(scorer=scorer)
    words = WordsReward(engine, " good", " bad")
    judge = RewardJudge(words)
    ids = Piece(text=render_stage(Stage.SUMMARY, "q30"), ids=(1, 2, 3))
    kept = candidate(0, Stage.SUMMARY, "").model_copy(update={"piece": ids})
    verdict = await judge.judge(QUESTION, Stage.SUMMARY, (), [kept, written(Stage.SUMMARY, 1, 70)])
    assert verdict.scores == pytest.approx((7.0, 3.0))
    # The very tokens go back, so that key-values are found again.
    assert engine.scored[0][0].prefix == (ids,)
    with pytest.raises(CapabilityError, match="log-probabilities"):
        WordsReward(DreamEngine(capabilities=replace(EVERYTHING, logprobs=False)))


@given(seed=st.integers(0, 999), gather=st.sampled_from(["last", "product"]))
async def test_searches_that_need_scores_take_it(seed: int, gather: Gather) -> None:
    engine = DreamEngine(faulty=0.2)
    judge = RewardJudge(Appraiser(), gather=gather, cutoff=-2.0)
    trace = await swires(QUESTION, engine, judge, SearchSettings(seed=seed))
    assert trace.usage.judge == sum(verdict.tokens for verdict in trace.verdicts)
    # One that does not come beyond its SUMMARY has nothing to judge.
    assert bool(trace.verdicts) == (len(trace.candidates) > 1)
    trace = await adaptive(QUESTION, engine, judge, SearchSettings(seed=seed))
    # A value that is no probability is of no use to it.
    assert (trace.judge == "reward") == (gather == "product")
    assert bool(trace.verdicts) <= (gather == "product")
    assert trace.usage.kept + trace.usage.discarded <= engine.generated


class Held(Appraiser):
    """Holds SUMMARYs right, and each other stage as it is told."""

    def __init__(self, **odds: float) -> None:
        super().__init__()
        self.odds = odds

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        closed = [said(one).rstrip().rpartition("</")[2].removesuffix(">") for one in requests]
        return [ValueResult(self.odds.get(stage, 9.0)) for stage in closed]


class Telling(DreamEngine):
    """Holds each of its reasonings as likely as it is told, and all else nearly sure."""

    def __init__(self, reasoning: float = -0.1) -> None:
        super().__init__()
        self.reasoning = reasoning

    def _write(self, request: SampleRequest, seed: int) -> Completion:
        written = super()._write(request, seed)
        return replace(written, logprob=self.reasoning if "<REASONING>" in written.piece.text else -0.1)


async def held(judge: Held, engine: DreamEngine, **constants: Any) -> tuple[Trace, list[Stage | None]]:
    events: list[Event] = []
    settings = SearchSettings(adaptive=replace(Adaptive(), **constants), watch=events.append)
    trace = await adaptive(QUESTION, engine, RewardJudge(judge, gather="product"), settings)
    return trace, [event.stage for event in events if event.kind == "retrace"]


async def test_an_answer_that_is_probably_right_ends_the_adaptive_search_early() -> None:
    trace, back = await held(Held(), Telling(), captions=1)
    assert [one.stage for one in trace.candidates] == list(STAGES)
    assert back == []


async def test_captions_that_are_probably_wrong_are_drawn_again() -> None:
    trace, back = await held(Held(CAPTION=-3.0), Telling(), rounds=3)
    assert back == [Stage.CAPTION, Stage.CAPTION]
    assert len([one for one in trace.candidates if one.stage is Stage.CAPTION]) == 3 * Adaptive().captions
    assert conclusion(trace.text) is not None


async def test_a_reasoning_that_the_model_holds_unlikely_is_drawn_again_once() -> None:
    _, back = await held(Held(CAPTION=2.0), Telling(-5.0), captions=1, rounds=4)
    assert back[:2] == [Stage.REASONING, Stage.CAPTION]
    # Where the judge is asked of reasonings too, what the model holds of them does not count.
    _, back = await held(Held(CAPTION=2.0), Telling(-5.0), captions=1, rounds=4, judged="both")
    assert back == []


@pytest.mark.parametrize(
    ("judged", "stages"), [("captions", {Stage.CAPTION}), ("both", {Stage.CAPTION, Stage.REASONING})]
)
async def test_the_adaptive_search_has_captions_judged_and_reasonings_if_told(judged: Any, stages: set[Stage]) -> None:
    trace, _ = await held(Held(), Telling(), judged=judged)
    assert {verdict.stage for verdict in trace.verdicts} == stages
