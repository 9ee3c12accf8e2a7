"""The self-judge: fair to positions, clear about what it could not read, and never crashed by malformed text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import DreamEngine, Scorer, by_quality, log_odds, quality, shown

from stepsight.errors import CapabilityError, InputError
from stepsight.judges import SelfJudge
from stepsight.prompts import judge_prompts
from stepsight.protocols import Capabilities, ScoreRequest
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.stages import STAGES, Stage, render, render_stage

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),))
SHORT = judge_prompts("short-2")
NUMBERS = st.lists(st.integers(0, 99), min_size=2, max_size=9, unique=True)


def candidate(id: int, text: str, *, stage: Stage | None = Stage.CAPTION, finish: Finish = Finish.STOP) -> Candidate:
    return Candidate(id=id, stage=stage, slot=id, seed=id, piece=Piece(text=text), finish=finish, tokens=1)


def written(id: int, number: int, stage: Stage = Stage.CAPTION) -> Candidate:
    return candidate(id, "\n\n" + render_stage(stage, f"text q{number}"), stage=stage)


def judge(scorer: Scorer = by_quality) -> SelfJudge:
    return SelfJudge(DreamEngine(scorer=scorer), SHORT)


def batches(of: SelfJudge) -> list[list[ScoreRequest]]:
    assert isinstance(of.engine, DreamEngine)
    return of.engine.scored


@given(numbers=NUMBERS)
async def test_orders_by_what_the_model_prefers(numbers: list[int]) -> None:
    candidates = [written(id, number) for id, number in enumerate(numbers)]
    verdict = await judge().judge(QUESTION, Stage.CAPTION, (), candidates)
    assert numbers[verdict.order[0]] == max(numbers)
    assert sorted(verdict.order) == list(range(len(numbers)))
    if len(numbers) <= 6:
        assert [numbers[id] for id in verdict.order] == sorted(numbers, reverse=True)


@given(data=st.data(), numbers=st.lists(st.integers(0, 9), min_size=1, max_size=8), broken=st.integers(0, 3))
async def test_the_order_in_which_candidates_come_changes_nothing(
    data: st.DataObject, numbers: list[int], broken: int
) -> None:
    candidates = [written(id, number) for id, number in enumerate(numbers)]
    candidates += [candidate(len(numbers) + extra, f"no tags q{extra}") for extra in range(broken)]
    mixed = data.draw(st.permutations(candidates))
    one = await judge().judge(QUESTION, Stage.CAPTION, (), candidates)
    assert await judge().judge(QUESTION, Stage.CAPTION, (), mixed) == one


@given(numbers=NUMBERS, data=st.data())
async def test_who_holds_which_id_does_not_change_the_winning_text(numbers: list[int], data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(numbers))
    verdict = await judge().judge(QUESTION, Stage.CAPTION, (), [written(id, n) for id, n in enumerate(mixed)])
    assert mixed[verdict.order[0]] == max(numbers)


@given(numbers=NUMBERS, bias=st.floats(-40, 40))
async def test_position_bias_costs_ties_but_not_the_order(numbers: list[int], bias: float) -> None:
    def biased(request: ScoreRequest) -> tuple[float, ...]:
        first, second = shown(request)
        return log_odds((quality(first) - quality(second)) / 10 + bias)

    candidates = [written(id, number) for id, number in enumerate(numbers)]
    verdict = await judge(biased).judge(QUESTION, Stage.CAPTION, (), candidates)
    assert numbers[verdict.order[0]] == max(numbers)
    disagree = [one for one in verdict.comparisons if abs(numbers[one.first] - numbers[one.second]) / 10 < abs(bias)]
    assert verdict.ties == sum(one.outcome == "tie" for one in verdict.comparisons)
    assert {(one.first, one.second) for one in disagree} <= {
        (one.first, one.second) for one in verdict.comparisons if one.outcome == "tie"
    }


async def test_ties_by_index_keep_the_first_candidate() -> None:
    engine = DreamEngine(scorer=lambda request: log_odds(5.0 + quality(shown(request)[0]) / 100))
    candidates = [written(0, 1), written(1, 50), written(2, 99)]
    by_index = await SelfJudge(engine, SHORT, ties="index").judge(QUESTION, Stage.CAPTION, (), candidates)
    by_odds = await SelfJudge(engine, SHORT, ties="log-odds").judge(QUESTION, Stage.CAPTION, (), candidates)
    assert by_index.order == (0, 1, 2)
    assert by_odds.order == (2, 1, 0)
    assert by_index.ties == by_odds.ties == 3


async def test_where_the_judge_is_not_firm_the_likelier_candidate_wins() -> None:
    engine = DreamEngine(scorer=lambda request: log_odds(5.0 + quality(shown(request)[0]) / 100))
    candidates = [
        written(id, number).model_copy(update={"logprob": logprob})
        for id, number, logprob in ((0, 1, -3.0), (1, 50, -float("inf")), (2, 99, -4.0))
    ]
    verdict = await SelfJudge(engine, SHORT).judge(QUESTION, Stage.CAPTION, (), candidates)
    assert verdict.order == (0, 2, 1)
    assert verdict.ties == 3
    assert verdict.comparisons[1].evidence["likelier_by"] == 1.0
    assert all(abs(one.evidence["likelier_by"]) < 1000 for one in verdict.comparisons)
    # One without a log-probability: the pair goes by what the judge leans to, as before.
    unknown = [candidates[0].model_copy(update={"logprob": None}), *candidates[1:]]
    assert (await SelfJudge(engine, SHORT).judge(QUESTION, Stage.CAPTION, (), unknown)).order[0] == 2
    # What it is firm about goes before any likelihood.
    firm = DreamEngine(scorer=lambda request: log_odds((quality(shown(request)[0]) - quality(shown(request)[1])) / 10))
    assert (await SelfJudge(firm, SHORT).judge(QUESTION, Stage.CAPTION, (), candidates)).order == (2, 1, 0)


async def test_every_pair_is_asked_in_both_orders_in_one_batch() -> None:
    asked = judge()
    verdict = await asked.judge(QUESTION, Stage.CAPTION, (), [written(id, id) for id in range(4)])
    (batch,) = batches(asked)
    assert len(batch) == 12 == verdict.calls
    assert {shown(request) for request in batch} == {
        (f"text q{one}", f"text q{other}") for one in range(4) for other in range(4) if one != other
    }
    assert all(request.options == ("1", "2") and request.turns[0].images for request in batch)
    assert (verdict.tokens, verdict.cached) == (12 * 7, 12 * 2)
    assert verdict.evidence["prompts"] == "short-2"


async def test_more_than_six_meet_in_a_knock_out() -> None:
    asked = judge()
    verdict = await asked.judge(QUESTION, Stage.CAPTION, (), [written(id, id) for id in range(8)])
    assert [len(batch) for batch in batches(asked)] == [8, 4, 2]
    assert len(verdict.comparisons) == 7
    assert verdict.order[0] == 7


async def test_what_cannot_be_read_speaks_for_nobody_and_is_counted() -> None:
    def mumbles(request: ScoreRequest) -> tuple[float, ...]:
        return (-4.0, -5.0) if "q1" in shown(request) or "q7" in request.turns[0].text else by_quality(request)

    verdict = await judge(mumbles).judge(QUESTION, Stage.CAPTION, (), [written(0, 7), written(1, 5), written(2, 9)])
    assert verdict.unreadable == 2
    assert [one.outcome for one in verdict.comparisons] == ["unreadable", "unreadable", "second"]
    assert verdict.order[0] == 2
    assert verdict.ties == 0


async def test_one_order_that_cannot_be_read_makes_the_pair_unreadable() -> None:
    def half(request: ScoreRequest) -> tuple[float, ...]:
        return (-50.0, -60.0) if shown(request)[0] == "text q9" else by_quality(request)

    verdict = await judge(half).judge(QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)])
    assert (verdict.order, verdict.unreadable) == ((0, 1), 1)


@pytest.mark.parametrize("odd", [(float("-inf"), float("-inf")), (float("nan"), float("nan"))])
async def test_infinities_do_not_reach_the_record(odd: tuple[float, float]) -> None:
    verdict = await judge(lambda _: odd).judge(QUESTION, Stage.CAPTION, (), [written(0, 1), written(1, 9)])
    assert verdict.unreadable == 1
    assert "null" not in verdict.model_dump_json(exclude_none=True)
    assert "Infinity" not in verdict.model_dump_json()


async def test_equal_texts_are_asked_once_and_stand_together() -> None:
    asked = judge()
    candidates = [written(0, 3), written(1, 8), written(2, 3), written(3, 8)]
    verdict = await asked.judge(QUESTION, Stage.CAPTION, (), candidates)
    assert verdict.order == (1, 3, 0, 2)
    assert verdict.calls == 2
    assert verdict.evidence["same_text"] == [[0, 2], [1, 3]]
    alone = await asked.judge(QUESTION, Stage.CAPTION, (), candidates[1::2])
    assert (alone.order, alone.calls) == ((1, 3), 0)


MALFORMED = [
    candidate(0, "<CAPTION> cut", finish=Finish.LENGTH),
    candidate(0, "<CAPTION> whole </CAPTION>", finish=Finish.LENGTH),
    candidate(0, "<CAPTION> failed </CAPTION>", finish=Finish.ERROR),
    candidate(0, "I see a cube."),
    candidate(0, "<CAPTION> never closed"),
    candidate(0, "<CAPTION> </CAPTION>"),
    candidate(0, "Well: <CAPTION> a </CAPTION>"),
    candidate(0, "<SUMMARY> a </SUMMARY> <CAPTION> a </CAPTION>"),
    candidate(0, "<REASONING> a </REASONING>"),
    candidate(0, ""),
]


@pytest.mark.parametrize("bad", MALFORMED)
async def test_a_malformed_candidate_ranks_last_unasked_with_its_reason(bad: Candidate) -> None:
    asked = judge()
    verdict = await asked.judge(QUESTION, Stage.CAPTION, (), [bad, written(1, 1), written(2, 2)])
    assert verdict.order == (2, 1, 0)
    assert verdict.calls == 2
    assert verdict.evidence["malformed"]["0"]


async def test_malformed_ones_are_compared_when_there_is_nothing_else() -> None:
    asked = judge()
    verdict = await asked.judge(QUESTION, Stage.REASONING, (), [candidate(0, "q1"), candidate(1, "q2")])
    assert verdict.order == (1, 0)
    assert set(verdict.evidence["malformed"]) == {"0", "1"}


def screening(correct: Callable[[int], float]) -> Scorer:
    def scorer(request: ScoreRequest) -> tuple[float, ...]:
        if request.options != ("yes", "no"):
            return by_quality(request)
        odds = correct(quality(request.turns[0].text.partition("REASONING: ")[2]))
        return log_odds(odds) if odds else (-9.0, -9.5)

    return scorer


CHOSEN = (candidate(90, "<SUMMARY> s </SUMMARY>", stage=Stage.SUMMARY), candidate(91, "<CAPTION> c </CAPTION>"))


def reasonings(*numbers: int) -> list[Candidate]:
    return [written(id, number, Stage.REASONING) for id, number in enumerate(numbers)]


async def test_an_incorrect_reasoning_loses_to_a_correct_one_wherever_it_stands() -> None:
    for numbers in ((9, 1), (1, 9)):
        asked = judge(screening(lambda number: 2.0 if number == 1 else -2.0))
        verdict = await asked.judge(QUESTION, Stage.REASONING, CHOSEN, reasonings(*numbers))
        assert numbers[verdict.order[0]] == 1
        ((first, second),) = batches(asked)  # the screen alone
        assert not first.turns[0].images
        assert not second.turns[0].images
        assert "CAPTION: c\n" in first.turns[0].text


@pytest.mark.parametrize("odds", [2.0, -2.0])
async def test_all_correct_or_all_incorrect_are_compared_as_usual(odds: float) -> None:
    asked = judge(screening(lambda _: odds))
    verdict = await asked.judge(QUESTION, Stage.REASONING, CHOSEN, reasonings(3, 9, 5))
    assert verdict.order == (1, 2, 0)
    assert verdict.calls == 3 + 6
    assert set(verdict.evidence["screen"]) == {"0", "1", "2"}


async def test_losers_of_the_screen_line_up_by_its_log_odds() -> None:
    asked = judge(screening({1: 1.0, 2: 0.5, 30: -3.0, 40: -1.0, 50: -2.0}.__getitem__))
    verdict = await asked.judge(QUESTION, Stage.REASONING, CHOSEN, reasonings(30, 1, 40, 2, 50))
    assert verdict.order == (3, 1, 2, 4, 0)


async def test_an_unreadable_screen_neither_saves_nor_sinks() -> None:
    asked = judge(screening({1: 1.0, 9: 0.0, 5: -1.0}.__getitem__))
    verdict = await asked.judge(QUESTION, Stage.REASONING, CHOSEN, reasonings(1, 9, 5))
    assert verdict.order == (1, 0, 2)
    assert verdict.unreadable == 1


async def test_without_a_caption_there_is_no_screen() -> None:
    asked = judge(screening(lambda _: -1.0))
    verdict = await asked.judge(QUESTION, Stage.REASONING, (), reasonings(1, 9))
    assert verdict.calls == 2
    assert "screen" not in verdict.evidence


async def test_whole_answers_are_compared_by_their_stages() -> None:
    asked = judge()
    answers = [render({stage: f"{stage.key} q{number}" for stage in STAGES}) for number in (4, 6)]
    verdict = await asked.judge(QUESTION, None, (), [candidate(id, a, stage=None) for id, a in enumerate(answers)])
    assert verdict.order == (1, 0)
    assert shown(batches(asked)[0][0])[0] == "caption q4 reasoning q4 conclusion q4"


async def test_a_single_candidate_costs_nothing() -> None:
    verdict = await judge().judge(QUESTION, Stage.REASONING, CHOSEN, reasonings(4))
    assert (verdict.order, verdict.calls, verdict.tokens) == ((0,), 0, 0)


async def test_no_candidates_and_shared_ids_are_refused() -> None:
    with pytest.raises(InputError, match="no candidates"):
        await judge().judge(QUESTION, Stage.CAPTION, (), ())
    with pytest.raises(InputError, match="share an id"):
        await judge().judge(QUESTION, Stage.CAPTION, (), [written(0, 1), written(0, 2)])


def test_an_engine_without_log_probabilities_is_refused_by_name() -> None:
    blind = DreamEngine(capabilities=Capabilities(prefix=True, logprobs=False, images=True, seeds=True))
    with pytest.raises(CapabilityError, match=r"dream.*vote"):
        SelfJudge(blind, SHORT)
