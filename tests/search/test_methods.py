"""What is particular to each search: sentences, survivors, retraces, votes; and budgets, which all keep."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.doubles import EVERYTHING, DreamEngine, quality

from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import CapabilityError, InputError
from stepsight.judges import LikelihoodJudge, SelfJudge
from stepsight.prompts import judge_prompts
from stepsight.protocols import (
    SWIRES,
    Adaptive,
    Budget,
    Capabilities,
    Completion,
    Event,
    Judge,
    SampleRequest,
    SampleResult,
    ScoreResult,
    SearchSettings,
    Swires,
)
from stepsight.records import Finish, Piece, Question, Trace
from stepsight.search import STRATEGIES, adaptive, sentence_beam, stage_beam, swires, vote
from stepsight.search.constants import with_constants
from stepsight.search.lines import settings_record
from stepsight.search.sentences import ABBREVIATIONS, Boundary, boundary, ends_before, standing
from stepsight.stages import STAGES, Stage, conclusion, parse, render

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),))


def judge_for(name: str, engine: DreamEngine) -> Judge:
    return LikelihoodJudge(cutoff=-2.0) if name == "swires" else SelfJudge(engine, judge_prompts("short-2"))


# Sentences


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("That is all.", Boundary.YES),
        ("Really?", Boundary.YES),
        ("No!", Boundary.YES),
        ("so 4. </REASONING>", Boundary.YES),
        ("shapes, e.g.", Boundary.NO),
        ("as in Fig.", Boundary.NO),
        ("about 3.", Boundary.LOOK),
        ("option B.", Boundary.LOOK),
        ("it goes on and", Boundary.YES),
    ],
)
def test_where_a_sentence_ends(text: str, kind: Boundary) -> None:
    assert boundary(text) is kind


@given(whole=st.integers(0, 999), part=st.integers(0, 999))
def test_no_sentence_ends_inside_a_number(whole: int, part: int) -> None:
    assert boundary(f"It is {whole}.") is Boundary.LOOK
    assert not ends_before(f"It is {whole}.", f"{part} metres")
    assert ends_before(f"It is {whole}.", " So")
    assert ends_before(f"It is {whole}.", "")


def test_the_letter_of_an_option_ends_a_sentence_only_where_a_stage_ends() -> None:
    assert not ends_before("A.", " 3 no")
    assert ends_before("That is option A.", " </REASONING>")


async def test_a_sentence_beam_goes_sentence_by_sentence_as_a_reader_would() -> None:
    answer = render(
        {
            Stage.SUMMARY: "I measure, e.g. with a ruler. Then I add.",
            Stage.CAPTION: "A rod of 3.14 m lies there.",
            Stage.REASONING: "It is 3.14 long! Is that all? A. 2 no, B. 3 yes. That is option B.",
            Stage.CONCLUSION: "B",
        }
    )

    def say(request: SampleRequest, slot: int, seed: int) -> str:
        return answer[len("".join(piece.text for piece in request.prefix)) :]

    trace = await sentence_beam(QUESTION, ScriptedEngine(say), None, SearchSettings(width=1))
    assert trace.text == answer
    assert [trace.candidates[one].piece.text.strip() for one in trace.chosen] == [
        "<SUMMARY> I measure, e.g. with a ruler.",
        "Then I add.",
        "</SUMMARY>",
        "<CAPTION> A rod of 3.14 m lies there.",
        "</CAPTION>",
        "<REASONING> It is 3.14 long!",
        "Is that all?",
        "A. 2 no, B. 3 yes.",
        "That is option B.",
        "</REASONING>",
        "<CONCLUSION> B </CONCLUSION>",
    ]
    assert [one.stage for one in trace.candidates][:4] == [Stage.SUMMARY, Stage.SUMMARY, Stage.SUMMARY, Stage.CAPTION]
    assert all(one.sentence for one in trace.candidates)


async def test_a_model_that_ends_without_its_tag_ends_the_sentence_beam() -> None:
    engine = ScriptedEngine(["<SUMMARY> One. Two.", " Two, and I forget the tag"])
    trace = await sentence_beam(QUESTION, engine, None, SearchSettings(width=1))
    assert trace.text == "<SUMMARY> One. Two, and I forget the tag"
    assert len(trace.chosen) == 2


async def test_sentences_are_judged_by_the_stage_up_to_them_or_by_themselves() -> None:
    def say(request: SampleRequest, slot: int, seed: int) -> str:
        return f" Right q{seed % 9}." if request.prefix else f"<CAPTION> See q{seed % 9}."

    for version, expected in (("short-2", "CAPTION 1. See q"), ("paper-2", "1:\nRight q")):
        engine = ScriptedEngine(say, scores=lambda request: (-0.5, -1.0))
        judge = SelfJudge(engine, judge_prompts(version))
        await asyncio.wait_for(sentence_beam(QUESTION, engine, judge, SearchSettings(width=4, max_tokens=9)), 20)
        asked = [call for call in engine.calls if hasattr(call, "requests")]
        assert expected in asked[-1].requests[0].turns[0].text
    assert "CAPTION" not in ABBREVIATIONS
    assert "ANSWER so far" in asked[-1].requests[0].turns[0].text


@given(cut=st.integers(0, 200))
@example(cut=0)
def test_where_an_unfinished_answer_stands(cut: int) -> None:
    text = render({stage: f"text of {stage.key}" for stage in STAGES})
    place = standing(text[:cut])
    closed = sum(stage.close in text[:cut] for stage in STAGES)
    assert place is (STAGES[closed] if closed < len(STAGES) else None)


# Stage beams with several survivors


@given(width=st.integers(2, 8), survivors=st.integers(2, 8), seed=st.integers(0, 999))
async def test_survivors_live_on_as_lines_that_share_the_width(width: int, survivors: int, seed: int) -> None:
    engine = DreamEngine()
    settings = SearchSettings(width=width, survivors=min(survivors, width), seed=seed)
    trace = await stage_beam(QUESTION, engine, judge_for("stage-beam", engine), settings)
    by_stage = {stage: [one for one in trace.candidates if one.stage is stage] for stage in STAGES}
    assert len(by_stage[Stage.SUMMARY]) == width
    for earlier, later in pairwise(STAGES):
        parents = {one.parent for one in by_stage[later]}
        assert len(parents) == settings.survivors
        assert parents <= {one.id for one in by_stage[earlier]}
        assert len(by_stage[later]) == width // settings.survivors * settings.survivors
    assert trace.verdicts[-1].stage is None
    assert parse(trace.text).valid
    # The judge is right about every pair, so the answer is the best of the lines' last words.
    last = [one for one in by_stage[Stage.CONCLUSION] if one.id in trace.verdicts[-1].order]
    assert quality(trace.text) == max(quality(one.piece.text) for one in last)


# Retracing


@given(seed=st.integers(0, 999), cutoff=st.floats(-6, 0), variant=st.sampled_from(sorted(SWIRES)))
async def test_swires_follows_the_algorithm(seed: int, cutoff: float, variant: str) -> None:
    rules = replace(SWIRES[variant], cutoff=cutoff)
    events: list[Event] = []
    settings = SearchSettings(seed=seed, swires=rules, watch=events.append)
    trace = await swires(QUESTION, DreamEngine(), LikelihoodJudge(), settings)
    drawn = {stage: [one for one in trace.candidates if one.stage is stage] for stage in STAGES}
    rounds = len(drawn[Stage.CAPTION]) // 4
    assert len(drawn[Stage.SUMMARY]) == 1
    assert len(drawn[Stage.CAPTION]) == len(drawn[Stage.REASONING]) == 4 * rounds
    assert len(drawn[Stage.CONCLUSION]) == rules.concluded
    assert 1 <= rounds <= rules.retraces + 1
    assert sum(event.kind == "retrace" for event in events) == rounds - 1
    scores = sorted((one.logprob or 0.0 for one in drawn[Stage.REASONING]), reverse=True)
    passed = scores[rules.passing - 1] > cutoff
    assert passed or rounds == rules.retraces + 1
    if rounds > 1:
        before = sorted((one.logprob or 0.0 for one in drawn[Stage.REASONING][: 4 * (rounds - 1)]), reverse=True)
        assert before[rules.passing - 1] <= cutoff
    # Reasonings continue the two best captions of their round; conclusions the best reasonings of all rounds.
    for turn in range(rounds):
        captions = drawn[Stage.CAPTION][4 * turn : 4 * turn + 4]
        best = sorted(captions, key=lambda one: -(one.logprob or 0.0))[:2]
        assert {one.parent for one in drawn[Stage.REASONING][4 * turn : 4 * turn + 4]} == {one.id for one in best}
    best = sorted(drawn[Stage.REASONING], key=lambda one: -(one.logprob or 0.0))[: rules.concluded]
    assert {one.parent for one in drawn[Stage.CONCLUSION]} == {one.id for one in best}
    assert parse(trace.text).valid


@pytest.mark.parametrize("name", ["swires", "adaptive"])
@pytest.mark.parametrize("lost", [Stage.CAPTION, Stage.REASONING])
async def test_a_model_that_never_closes_a_stage_leaves_what_is_written(name: str, lost: Stage) -> None:
    class Curt(DreamEngine):
        def _write(self, request: SampleRequest, seed: int) -> Completion:
            done = super()._write(request, seed)
            return replace(done, piece=Piece(text="\n\nNo more.")) if lost.close in request.stop else done

    trace = await STRATEGIES[name](QUESTION, Curt(), LikelihoodJudge(cutoff=0.0), SearchSettings())
    assert [trace.candidates[one].stage for one in trace.chosen] == [Stage.SUMMARY]


@pytest.mark.parametrize("word", ["swires.retraces=1", "adaptive.rounds=2"])
def test_a_trace_says_which_constants_were_changed(word: str) -> None:
    engine = DreamEngine()
    changed = settings_record(engine, with_constants(SearchSettings(), [word]))
    assert changed != settings_record(engine, SearchSettings())


async def test_swires_needs_scores_and_to_know_which_are_good() -> None:
    engine = DreamEngine()
    with pytest.raises(CapabilityError, match="stage-beam"):
        await swires(QUESTION, engine, judge_for("stage-beam", engine), SearchSettings())
    with pytest.raises(InputError, match="calibrate"):
        await swires(QUESTION, engine, LikelihoodJudge(), SearchSettings())
    with pytest.raises(InputError, match="divides"):
        await swires(QUESTION, engine, LikelihoodJudge(cutoff=0.0), SearchSettings(swires=Swires(captions=4, kept=3)))
    assert engine.samples == []


# Votes


async def test_the_commonest_conclusion_wins_whatever_its_spelling() -> None:
    def answer(conclusion: str) -> str:
        return render(dict.fromkeys(STAGES[:3], "text") | {Stage.CONCLUSION: conclusion})

    written = [answer("3"), "rubbish", answer("The answer is B."), answer("4"), answer("(b)"), answer("4 ")]
    question = Question(id="q", text="Which?", choices=("3", "4"))
    trace = await vote(question, ScriptedEngine(written), None, SearchSettings(width=6))
    assert trace.chosen == (2,)
    assert trace.judge is None
    assert trace.usage.kept + trace.usage.discarded == sum(one.tokens for one in trace.candidates)


async def test_without_a_single_vote_something_is_kept_all_the_same() -> None:
    trace = await vote(QUESTION, ScriptedEngine(["a", "b"]), None, SearchSettings(width=2))
    assert trace.text == "a"


# Budgets


class Wordy(DreamEngine):
    """Writes no more tokens than it may."""

    def _write(self, request: SampleRequest, seed: int) -> Completion:
        done = super()._write(request, seed)
        words = done.piece.text.split(" ")
        if len(words) <= request.max_tokens:
            return replace(done, tokens=len(words))
        text = " ".join(words[: request.max_tokens])
        return Completion(Piece(text=text), Finish.LENGTH, request.max_tokens, -1.0)


@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    tokens=st.one_of(st.none(), st.integers(1, 400)),
    candidates=st.one_of(st.none(), st.integers(1, 40)),
    width=st.integers(1, 8),
    survivors=st.integers(1, 3),
    seed=st.integers(0, 99),
)
async def test_a_budget_is_never_exceeded(
    name: str, tokens: int | None, candidates: int | None, width: int, survivors: int, seed: int
) -> None:
    engine = Wordy()
    budget = Budget(tokens=tokens, candidates=candidates)
    settings = SearchSettings(width=width, survivors=min(width, survivors), seed=seed, budget=budget, max_tokens=90)
    trace = await STRATEGIES[name](QUESTION, engine, judge_for(name, engine), settings)
    spent = trace.usage.kept + trace.usage.discarded
    assert spent == engine.generated
    assert tokens is None or spent <= tokens
    assert candidates is None or len(trace.candidates) <= candidates
    assert trace.text
    if budget.limited:
        assert trace.spending is not None
        left = trace.spending.left
        assert left.get("tokens") == (None if tokens is None else tokens - spent)
        assert left.get("candidates") == (None if candidates is None else candidates - len(trace.candidates))
    assert Trace.model_validate_json(trace.model_dump_json()) == trace


@given(name=st.sampled_from(sorted(STRATEGIES)), seed=st.integers(0, 99))
async def test_a_budget_that_is_never_reached_changes_nothing(name: str, seed: int) -> None:
    free, rich = Wordy(), Wordy()
    settings = SearchSettings(seed=seed, max_tokens=90)
    one = await STRATEGIES[name](QUESTION, free, judge_for(name, free), settings)
    budget = Budget(tokens=10**6, candidates=10**4, seconds=3600)
    other = await STRATEGIES[name](QUESTION, rich, judge_for(name, rich), replace(settings, budget=budget))
    assert other.candidates == one.candidates
    assert other.chosen == one.chosen
    assert other.spending is not None
    assert other.spending.ended_by in ("done", "agreed")


@given(
    name=st.sampled_from(["stage-beam", "best-of-n", "vote"]),
    tokens=st.integers(70, 300),
    width=st.integers(1, 8),
    survivors=st.integers(1, 3),
    seed=st.integers(0, 99),
)
async def test_a_budget_for_one_answer_is_enough_to_finish_one(
    name: str, tokens: int, width: int, survivors: int, seed: int
) -> None:
    engine = Wordy()
    settings = SearchSettings(width=width, survivors=min(width, survivors), seed=seed, budget=Budget(tokens=tokens))
    trace = await STRATEGIES[name](QUESTION, engine, judge_for(name, engine), settings)
    assert parse(trace.text).valid


async def test_when_time_is_up_the_best_so_far_is_the_answer() -> None:
    class Slow(DreamEngine):
        async def sample(self, request, on_text=None):  # type: ignore[no-untyped-def]  # as its parent's
            if Stage.REASONING.close in request.stop:
                await asyncio.sleep(60)
            return await super().sample(request, on_text)

    engine = Slow()
    settings = SearchSettings(width=3, budget=Budget(seconds=0.3))
    trace = await stage_beam(QUESTION, engine, judge_for("stage-beam", engine), settings)
    assert [trace.candidates[one].stage for one in trace.chosen] == [Stage.SUMMARY, Stage.CAPTION]
    assert trace.spending is not None
    assert trace.spending.ended_by == "seconds"
    assert trace.spending.left["seconds"] == 0.0
    assert trace.seconds < 30


@pytest.mark.parametrize("budget", [Budget(tokens=0), Budget(seconds=float("nan")), Budget(candidates=-1)])
async def test_a_senseless_budget_is_refused(budget: Budget) -> None:
    with pytest.raises(InputError, match="budget"):
        await vote(QUESTION, DreamEngine(), None, SearchSettings(budget=budget))


# Our own


@dataclass
class Draw:
    """Writes captions and conclusions from lists, in turn, and says what it thinks of each caption."""

    captions: list[tuple[str, float]]
    conclusions: dict[str, list[str]]
    asked: list[SampleRequest] = field(default_factory=list)
    name: str = "draw"
    capabilities: Capabilities = EVERYTHING

    async def sample(self, request: SampleRequest, on_text: object = None) -> SampleResult:
        self.asked.append(request)
        stage = next(stage for stage in STAGES if stage.close in request.stop)
        return SampleResult(tuple(self._one(stage, request) for _ in request.seeds))

    def _one(self, stage: Stage, request: SampleRequest) -> Completion:
        logprob, text = -1.0, "text"
        if stage is Stage.CAPTION:
            text, logprob = self.captions.pop(0)
        elif stage is Stage.REASONING:
            caption = parse(request.prefix[-1].text).stages[Stage.CAPTION]
            text = f"so {self.conclusions[caption].pop(0)}"
        elif stage is Stage.CONCLUSION:
            text = parse(request.prefix[-1].text).stages[Stage.REASONING].removeprefix("so ")
        return Completion(Piece(text=render({stage: text})), Finish.STOP, 1, logprob)

    async def score(self, requests: object) -> list[ScoreResult]:
        raise AssertionError("nobody is judged")


async def ours(engine: Draw, **constants: Any) -> tuple[Trace, list[Stage | None]]:
    events: list[Event] = []
    settings = SearchSettings(adaptive=replace(Adaptive(), **constants), watch=events.append)
    trace = await adaptive(QUESTION, engine, None, settings)
    return trace, [event.stage for event in events if event.kind == "retrace"]


async def test_captions_that_are_alike_are_reasoned_about_once_and_agreement_ends_the_search() -> None:
    engine = Draw([("a", -1.0)] * 3 + [("b", -1.0)], {"a": ["3"], "b": ["3"]})
    trace, back = await ours(engine, captions=4)
    assert [len([one for one in trace.candidates if one.stage is stage]) for stage in STAGES] == [1, 4, 2, 2]
    assert conclusion(trace.text) == "3"
    assert back == []


async def test_a_likelier_caption_counts_more_than_several_unlikely_ones() -> None:
    captions = [("a", -9.0), ("b", -9.0), ("c", -0.1)]
    said = {"a": ["3"], "b": ["3"], "c": ["4"]}
    trace, _ = await ours(Draw(list(captions), {key: list(value) for key, value in said.items()}), captions=3)
    assert conclusion(trace.text) == "4"
    by_count, _ = await ours(Draw(list(captions), said), captions=3, rounds=1, weigh="count")
    assert conclusion(by_count.text) == "3"


async def test_it_goes_back_to_the_stage_that_is_at_fault() -> None:
    # Two captions, two conclusions: the captions differ.
    between = Draw(
        [("a", -1.0), ("b", -1.0), ("c", -1.0), ("d", -1.0)], {"a": ["3"], "b": ["4"], "c": ["3"], "d": ["3"]}
    )
    trace, back = await ours(between, captions=2, rounds=2)
    assert back == [Stage.CAPTION]
    assert conclusion(trace.text) == "3"
    # Behind each caption the reasonings differ, and more of them settle it.
    within = Draw([("a", -1.0), ("b", -1.0)], {"a": ["3", "4", "4", "4"], "b": ["3", "4"]})
    trace, back = await ours(within, captions=2, rounds=2, reasonings=2)
    assert back == [Stage.REASONING]
    assert conclusion(trace.text) == "4"


@given(seed=st.integers(0, 999), tokens=st.integers(1, 300), weigh=st.sampled_from(["count", "likelihood"]))
async def test_ours_keeps_its_rounds_and_its_budget(seed: int, tokens: int, weigh: Any) -> None:
    engine = Wordy(faulty=0.2)
    rules = Adaptive(weigh=weigh)
    settings = SearchSettings(seed=seed, adaptive=rules, budget=Budget(tokens=tokens))
    trace = await adaptive(QUESTION, engine, None, settings)
    captions = [one for one in trace.candidates if one.stage is Stage.CAPTION]
    assert len(captions) <= rules.captions * rules.rounds
    assert trace.usage.kept + trace.usage.discarded == engine.generated <= tokens


# Constants by name


def test_constants_are_set_by_name() -> None:
    made = with_constants(
        SearchSettings(), ["swires=released", "swires.cutoff=-0.5", "adaptive.rounds = 2", "adaptive.weigh=count"]
    )
    assert made.swires == replace(SWIRES["released"], cutoff=-0.5)
    assert (made.adaptive.rounds, made.adaptive.weigh) == (2, "count")


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("swires", "sets nothing"),
        ("swires=theirs", "paper, released"),
        ("swires.cutof=1", "did you mean swires.cutoff"),
        ("swires.kept=two", "a whole number"),
        ("swires.cutoff=low", "a number"),
        ("adaptive.weigh=luck", "count, likelihood"),
    ],
)
def test_a_constant_that_cannot_be_set_is_named(word: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        with_constants(SearchSettings(), [word])
    assert fault in str(caught.value)
