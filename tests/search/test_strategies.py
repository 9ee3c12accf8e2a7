"""Properties of every search, on an engine that dreams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import DreamEngine

from stepsight.errors import CapabilityError, InputError
from stepsight.judges import JUDGES, LikelihoodJudge, SelfJudge
from stepsight.prompts import answer_turns, judge_prompts
from stepsight.protocols import Capabilities, Event, SampleRequest, SearchSettings
from stepsight.records import Candidate, Question, Trace, Verdict
from stepsight.search import STRATEGIES, best_of_n, greedy, stage_beam, strategy
from stepsight.seeds import derive_seed
from stepsight.stages import STAGES, Stage, conclusion, parse

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),))
NAMES = st.sampled_from(sorted(STRATEGIES))
SETTINGS = st.builds(
    SearchSettings,
    width=st.integers(1, 8),
    seed=st.integers(0, 2**40),
    greedy_first=st.booleans(),
)
FAULTY = st.sampled_from([0.0, 0.2, 0.6, 1.0])


def self_judge(engine: DreamEngine) -> SelfJudge:
    return SelfJudge(engine, judge_prompts("short-2"))


async def search(name: str, settings: SearchSettings, faulty: float = 0.0) -> tuple[Trace, DreamEngine]:
    engine = DreamEngine(faulty=faulty)
    judge = LikelihoodJudge(cutoff=-2.0) if name == "swires" else self_judge(engine)
    return await STRATEGIES[name](QUESTION, engine, judge, settings), engine


def without_time(trace: Trace) -> Trace:
    return trace.model_copy(update={"seconds": 0.0})


@given(name=NAMES, settings=SETTINGS, faulty=FAULTY)
async def test_every_token_is_accounted_for_once(name: str, settings: SearchSettings, faulty: float) -> None:
    trace, engine = await search(name, settings, faulty)
    assert trace.usage.kept + trace.usage.discarded == engine.generated
    assert trace.usage.kept == sum(one.tokens for one in trace.candidates if one.id in trace.chosen)
    assert trace.usage.judge == 7 * sum(map(len, engine.scored)) == sum(one.tokens for one in trace.verdicts)
    assert trace.usage.cached == engine.cached


@given(name=NAMES, settings=SETTINGS, faulty=FAULTY)
async def test_the_same_seed_gives_the_same_trace(name: str, settings: SearchSettings, faulty: float) -> None:
    first, _ = await search(name, settings, faulty)
    second, _ = await search(name, settings, faulty)
    assert without_time(first) == without_time(second)


@given(name=NAMES, settings=SETTINGS, faulty=FAULTY)
async def test_a_trace_hangs_together_and_survives_json(name: str, settings: SearchSettings, faulty: float) -> None:
    trace, engine = await search(name, settings, faulty)
    assert [candidate.id for candidate in trace.candidates] == list(range(len(trace.candidates)))
    assert len(set(trace.chosen)) == len(trace.chosen) >= 1
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    parents = [by_id[one].parent for one in trace.chosen]
    assert parents == [None, *trace.chosen[:-1]]
    for candidate in trace.candidates:
        stage = candidate.stage or "whole"
        assert candidate.seed == derive_seed(settings.seed, QUESTION.id, stage, candidate.slot)
    assert Trace.model_validate_json(trace.model_dump_json()).model_dump_json() == trace.model_dump_json()
    assert all(request.turns == answer_turns(QUESTION) for request in engine.samples)


@given(name=NAMES, settings=SETTINGS)
async def test_a_sound_model_gives_a_well_formed_answer(name: str, settings: SearchSettings) -> None:
    trace, _ = await search(name, settings)
    assert parse(trace.text).valid


@given(settings=SETTINGS)
async def test_width_one_without_a_judge_is_a_plain_sample(settings: SearchSettings) -> None:
    settings = replace(settings, width=1)
    trace = await best_of_n(QUESTION, DreamEngine(), None, settings)
    plain = await DreamEngine().sample(
        SampleRequest(
            turns=answer_turns(QUESTION),
            seeds=(derive_seed(settings.seed, "q", "whole", 0),),
            stop=(Stage.CONCLUSION.close,),
            max_tokens=settings.max_tokens,
        )
    )
    assert trace.text == plain.completions[0].piece.text
    assert (trace.usage.discarded, trace.verdicts, trace.judge) == (0, (), None)


async def test_greedy_takes_one_candidate_at_temperature_zero_whatever_is_set() -> None:
    one, engine = await search("greedy", SearchSettings(width=8, seed=1, greedy_first=True))
    other, _ = await search("greedy", SearchSettings(width=2, seed=2, temperature=1.0))
    assert one.text == other.text
    assert [(len(request.seeds), request.temperature) for request in engine.samples] == [(1, 0.0)]
    assert one.judge is None
    assert one.settings["width"] == 1


@given(settings=SETTINGS)
async def test_stage_beam_goes_stage_by_stage_from_the_winner(settings: SearchSettings) -> None:
    settings = replace(settings, greedy_first=False)
    trace, engine = await search("stage-beam", settings)
    assert [request.stop for request in engine.samples] == [(stage.close,) for stage in STAGES]
    assert [len(request.seeds) for request in engine.samples] == [settings.width] * 4
    chosen = [trace.candidates[one] for one in trace.chosen]
    for number, request in enumerate(engine.samples):
        assert request.prefix == tuple(candidate.piece for candidate in chosen[:number])
    if settings.width > 1:
        assert [verdict.stage for verdict in trace.verdicts] == list(STAGES)
        assert [verdict.order[0] for verdict in trace.verdicts] == list(trace.chosen)


@given(settings=SETTINGS)
async def test_greedy_first_changes_slot_zero_only(settings: SearchSettings) -> None:
    sampled, _ = await search("best-of-n", replace(settings, greedy_first=False))
    mixed, engine = await search("best-of-n", replace(settings, width=max(2, settings.width), greedy_first=True))
    plain, _ = await search("greedy", settings)
    assert [(len(request.seeds), request.temperature) for request in engine.samples] == [
        (1, 0.0),
        (max(2, settings.width) - 1, settings.temperature),
    ]
    assert mixed.candidates[0].piece == plain.candidates[0].piece
    assert mixed.candidates[1 : settings.width] == sampled.candidates[1:]


@given(settings=SETTINGS)
async def test_a_model_that_only_writes_rubbish_does_not_crash_the_search(settings: SearchSettings) -> None:
    trace, _ = await search("stage-beam", settings, faulty=1.0)
    assert parse(trace.text).faults


async def test_a_model_that_ends_its_turn_ends_the_search() -> None:
    class Curt(DreamEngine):
        def _write(self, request: SampleRequest, seed: int):  # type: ignore[no-untyped-def]  # as its parent's
            done = super()._write(request, seed)
            if Stage.REASONING.close in request.stop:
                return replace(done, piece=done.piece.model_copy(update={"text": "\n\nNo more."}))
            return done

    trace = await stage_beam(QUESTION, Curt(), LikelihoodJudge(), SearchSettings(width=3))
    assert [trace.candidates[one].stage for one in trace.chosen] == list(STAGES)[:3]


async def test_a_stage_that_ran_into_the_limit_is_continued() -> None:
    traces = [await search("stage-beam", SearchSettings(width=1, seed=seed), faulty=0.5) for seed in range(40)]
    cut = [trace for trace, _ in traces if trace.candidates[0].finish.value == "length"]
    assert cut
    assert all(len(trace.chosen) > 1 for trace in cut)


@dataclass(frozen=True)
class Oracle:
    """Always right about whole answers; the lower id among equals."""

    answer: str
    name: str = "oracle"

    async def judge(
        self, question: Question, stage: Stage | None, chosen: object, candidates: list[Candidate]
    ) -> Verdict:
        right = sorted(candidates, key=lambda one: (conclusion(one.piece.text) != self.answer, one.id))
        return Verdict(judge=self.name, stage=stage, order=tuple(one.id for one in right))


@given(settings=SETTINGS, faulty=FAULTY, answer=st.integers(0, 99), more=st.integers(0, 20))
async def test_an_always_right_judge_never_lowers_accuracy(
    settings: SearchSettings, faulty: float, answer: int, more: int
) -> None:
    settings = replace(settings, greedy_first=False)
    oracle = Oracle(f"conclusion q{answer}")
    engine = DreamEngine(faulty=faulty)
    narrow = await best_of_n(QUESTION, engine, oracle, settings)  # type: ignore[arg-type]  # a double
    wide = await best_of_n(QUESTION, engine, oracle, replace(settings, width=settings.width + more))  # type: ignore[arg-type]  # a double
    if conclusion(narrow.text) == oracle.answer:
        assert conclusion(wide.text) == oracle.answer
    if any(conclusion(one.piece.text) == oracle.answer for one in wide.candidates):
        assert conclusion(wide.text) == oracle.answer


async def test_who_watches_sees_every_step_in_order() -> None:
    seen: list[Event] = []
    engine = DreamEngine()
    settings = SearchSettings(width=2, watch=seen.append, greedy_first=True)
    trace = await stage_beam(QUESTION, engine, self_judge(engine), settings)
    steps = ["stage_started", "text", "text", "candidate", "candidate", "verdict", "stage_chosen"]
    assert [(event.kind, event.stage) for event in seen] == [(kind, stage) for stage in STAGES for kind in steps]
    assert [event.candidate for event in seen if event.kind == "candidate"] == list(trace.candidates)
    assert [event.verdict for event in seen if event.kind == "verdict"] == list(trace.verdicts)
    assert "".join(event.text for event in seen if event.kind == "stage_chosen") == trace.text
    text = {(event.stage, event.slot): event.text for event in seen if event.kind == "text"}
    assert text == {(one.stage, one.slot): one.piece.text for one in trace.candidates}


async def test_nobody_watches_by_default_and_the_engine_knows() -> None:
    class Private(DreamEngine):
        async def sample(self, request, on_text=None):  # type: ignore[no-untyped-def]  # as its parent's
            assert on_text is None
            return await super().sample(request)

    await greedy(QUESTION, Private(), None, SearchSettings())


@pytest.mark.parametrize("name", ["best-of-n", "stage-beam"])
async def test_several_candidates_need_a_judge_and_the_error_names_them_all(name: str) -> None:
    with pytest.raises(InputError) as caught:
        await STRATEGIES[name](QUESTION, DreamEngine(), None, SearchSettings(width=2))
    assert all(judge in str(caught.value) for judge in JUDGES)


@pytest.mark.parametrize("settings", [SearchSettings(width=0), SearchSettings(width=1, max_tokens=0)])
async def test_senseless_settings_are_refused(settings: SearchSettings) -> None:
    with pytest.raises(InputError):
        await best_of_n(QUESTION, DreamEngine(), None, settings)


async def test_what_the_engine_cannot_do_is_refused_with_the_nearest_that_works() -> None:
    no_prefix = DreamEngine(capabilities=Capabilities(prefix=False, logprobs=True, images=True, seeds=True))
    with pytest.raises(CapabilityError, match="best-of-n"):
        await stage_beam(QUESTION, no_prefix, None, SearchSettings(width=1))
    assert (await best_of_n(QUESTION, no_prefix, None, SearchSettings(width=1))).text
    blind = DreamEngine(capabilities=Capabilities(prefix=True, logprobs=True, images=False, seeds=True))
    with pytest.raises(CapabilityError, match="picture"):
        await greedy(QUESTION, blind, None, SearchSettings())


def test_strategies_are_found_by_name() -> None:
    assert strategy("stage-beam") is stage_beam
    with pytest.raises(InputError, match="did you mean stage-beam"):
        strategy("Stage_Beam")
    with pytest.raises(InputError, match="known: greedy, best-of-n, vote, sentence-beam, stage-beam, swires, adaptive"):
        strategy("xyz")


@given(name=NAMES, settings=SETTINGS, most=st.integers(1, 40))
async def test_no_answer_may_become_longer_than_it_may(name: str, settings: SearchSettings, most: int) -> None:
    trace, engine = await search(name, replace(settings, answer_tokens=most))
    assert engine.samples
    tokens = {"".join(piece.text for piece in request.prefix): 0 for request in engine.samples}
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    for candidate in trace.candidates:
        line, one = [candidate], candidate
        while one.parent is not None:
            one = by_id[one.parent]
            line.insert(0, one)
        tokens["".join(one.piece.text for one in line)] = sum(one.tokens for one in line)
    for request in engine.samples:
        # The engine's double writes whole stages whatever it is told; what it is told is what counts.
        assert 1 <= request.max_tokens <= most - tokens["".join(piece.text for piece in request.prefix)]
    assert trace.settings["answer_tokens"] == most
    free, _ = await search(name, settings)
    roomy, _ = await search(name, replace(settings, answer_tokens=10_000))
    assert [one.piece for one in roomy.candidates] == [one.piece for one in free.candidates]
    with pytest.raises(InputError, match="answer_tokens"):
        await search(name, replace(settings, answer_tokens=0))
