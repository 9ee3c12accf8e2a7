"""The two judges that ask no engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import CapabilityError
from stepsight.judges import LikelihoodJudge, VoteJudge
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.stages import STAGES, Stage, render, render_stage

QUESTION = Question(id="q", text="How many?")


def scored(id: int, logprob: float | None, tokens: int = 1, *, finish: Finish = Finish.STOP) -> Candidate:
    text = render_stage(Stage.SUMMARY, "plan")
    return Candidate(
        id=id,
        stage=Stage.SUMMARY,
        slot=id,
        seed=0,
        piece=Piece(text=text),
        finish=finish,
        tokens=tokens,
        logprob=logprob,
    )


def answer(id: int, conclusion: str, *, finish: Finish = Finish.STOP) -> Candidate:
    text = render({stage: conclusion if stage is Stage.CONCLUSION else "x" for stage in STAGES})
    return Candidate(id=id, stage=None, slot=id, seed=0, piece=Piece(text=text), finish=finish, tokens=1)


@given(logprobs=st.lists(st.floats(-1e6, 0), min_size=1, max_size=8), data=st.data())
async def test_likelihood_orders_by_log_probability(logprobs: list[float], data: st.DataObject) -> None:
    candidates = data.draw(st.permutations([scored(id, value) for id, value in enumerate(logprobs)]))
    verdict = await LikelihoodJudge().judge(QUESTION, Stage.SUMMARY, (), candidates)
    assert verdict.scores == tuple(sorted(logprobs, reverse=True))
    assert verdict.order == tuple(sorted(range(len(logprobs)), key=lambda id: (-logprobs[id], id)))
    assert verdict.ties == len(logprobs) - len(set(logprobs))
    assert (verdict.calls, verdict.tokens) == (0, 0)


async def test_likelihood_per_token_undoes_the_favour_for_short_texts() -> None:
    candidates = [scored(0, -4.0, tokens=2), scored(1, -6.0, tokens=12)]
    assert (await LikelihoodJudge().judge(QUESTION, Stage.SUMMARY, (), candidates)).order == (0, 1)
    per_token = await LikelihoodJudge(normalise=True).judge(QUESTION, Stage.SUMMARY, (), candidates)
    assert per_token.order == (1, 0)
    assert per_token.scores == (-0.5, -2.0)


async def test_likelihood_ranks_malformed_last() -> None:
    candidates = [scored(0, -0.1, finish=Finish.LENGTH), scored(1, -9.0)]
    verdict = await LikelihoodJudge().judge(QUESTION, Stage.SUMMARY, (), candidates)
    assert verdict.order == (1, 0)
    assert verdict.evidence["malformed"] == {"0": "cut off at the token limit"}


async def test_likelihood_needs_log_probabilities() -> None:
    with pytest.raises(CapabilityError, match="vote"):
        await LikelihoodJudge().judge(QUESTION, Stage.SUMMARY, (), [scored(0, -1.0), scored(1, None)])


async def test_the_commonest_conclusion_wins() -> None:
    candidates = [answer(0, "Blue"), answer(1, "red"), answer(2, " Red."), answer(3, "blue cube")]
    verdict = await VoteJudge().judge(QUESTION, None, (), candidates)
    assert verdict.order == (1, 2, 0, 3)
    assert verdict.scores == (2, 2, 1, 1)
    assert verdict.ties == 0


async def test_malformed_answers_have_no_vote() -> None:
    candidates = [answer(0, "red", finish=Finish.LENGTH), answer(1, "red", finish=Finish.LENGTH), answer(2, "blue")]
    verdict = await VoteJudge().judge(QUESTION, None, (), candidates)
    assert verdict.order == (2, 0, 1)
    assert verdict.scores == (1, 0, 0)


async def test_a_shared_first_place_is_a_tie() -> None:
    verdict = await VoteJudge().judge(QUESTION, None, (), [answer(0, "a"), answer(1, "b"), answer(2, "c")])
    assert (verdict.order, verdict.ties) == ((0, 1, 2), 2)


async def test_single_stages_cannot_be_voted_on() -> None:
    with pytest.raises(CapabilityError, match="SUMMARY"):
        await VoteJudge().judge(QUESTION, Stage.SUMMARY, (), [scored(0, -1.0)])
