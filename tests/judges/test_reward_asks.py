"""What a reward model is shown: all of the answer, or, as in the released code, one stage against a request for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stepsight.errors import InputError
from stepsight.judges.reward import RewardJudge
from stepsight.prompts.answer import answer_turns
from stepsight.prompts.reward import reward_prompts
from stepsight.protocols import ValueRequest, ValueResult
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.stages import SEPARATOR, STAGES, Stage, render, render_stage

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),))
REQUESTS = reward_prompts("released-1").requests


@dataclass
class Listener:
    """A reward model that holds long answers to be good ones, and remembers what it was asked."""

    name: str = "listener"
    asked: list[ValueRequest] = field(default_factory=list)

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        self.asked += requests
        return [ValueResult(float(len(shown(request)))) for request in requests]


def shown(request: ValueRequest) -> str:
    return "".join(piece.text for piece in request.answer)


def written(id: int, stage: Stage | None, text: str, *, sentence: bool = False) -> Candidate:
    return Candidate(
        id=id,
        stage=stage,
        slot=id,
        seed=0,
        piece=Piece(text=text),
        finish=Finish.STOP,
        tokens=1,
        sentence=sentence,
    )


def staged(id: int, stage: Stage, text: str) -> Candidate:
    space = "" if stage is STAGES[0] else SEPARATOR
    return written(id, stage, space + render_stage(stage, text))


CHOSEN = (staged(0, Stage.SUMMARY, "plan"), staged(1, Stage.CAPTION, "a cube"))


@pytest.mark.parametrize("stage", [Stage.CAPTION, Stage.REASONING])
async def test_the_released_way_shows_a_stage_alone_and_asks_for_it(stage: Stage) -> None:
    model = Listener()
    candidates = [staged(7, stage, "short"), staged(8, stage, "rather longer")]
    verdict = await RewardJudge(model, asks="released-1").judge(QUESTION, stage, CHOSEN[:1], candidates)
    assert [shown(request) for request in model.asked] == ["short", "rather longer"]
    for request in model.asked:
        assert request.turns[0].text == f"How many?\n{REQUESTS[stage]}"
        assert request.turns[0].images == QUESTION.images
    assert verdict.order == (8, 7)
    assert verdict.evidence["asks"] == "released-1"


async def test_the_released_way_ends_with_the_whole_answer_against_the_bare_question() -> None:
    model = Listener()
    chosen = (*CHOSEN, staged(2, Stage.REASONING, "one, two"))
    await RewardJudge(model, asks="released-1").judge(
        QUESTION, Stage.CONCLUSION, chosen, [staged(3, Stage.CONCLUSION, "2")]
    )
    whole = "".join(candidate.piece.text for candidate in chosen) + SEPARATOR + render_stage(Stage.CONCLUSION, "2")
    assert model.asked[0].turns == answer_turns(QUESTION)
    assert shown(model.asked[0]) == whole
    answer = written(4, None, render(dict.fromkeys(STAGES, "x")))
    await RewardJudge(model, asks="released-1").judge(QUESTION, None, (), [answer])
    assert model.asked[1].turns == answer_turns(QUESTION)
    assert shown(model.asked[1]) == answer.piece.text


async def test_the_released_way_shows_of_a_sentence_its_stage_so_far() -> None:
    model = Listener()
    first = written(2, Stage.REASONING, f"{SEPARATOR}{Stage.REASONING.open} One.", sentence=True)
    next_ = written(3, Stage.REASONING, " Two.", sentence=True)
    await RewardJudge(model, asks="released-1").judge(QUESTION, Stage.REASONING, (*CHOSEN, first), [next_])
    assert [shown(request) for request in model.asked] == ["One. Two."]


async def test_the_prefix_shows_everything_so_far_and_asks_for_nothing_else() -> None:
    model = Listener()
    verdict = await RewardJudge(model).judge(QUESTION, Stage.CAPTION, CHOSEN[:1], [CHOSEN[1]])
    assert model.asked == [ValueRequest(answer_turns(QUESTION), (CHOSEN[0].piece, CHOSEN[1].piece))]
    assert "asks" not in verdict.evidence


async def test_texts_that_are_alike_are_asked_about_once_and_malformed_ones_never() -> None:
    model = Listener()
    candidates = [staged(5, Stage.CAPTION, "same"), staged(6, Stage.CAPTION, "same"), written(7, Stage.CAPTION, "none")]
    verdict = await RewardJudge(model, asks="released-1").judge(QUESTION, Stage.CAPTION, CHOSEN[:1], candidates)
    assert len(model.asked) == 1
    assert verdict.order == (5, 6, 7)


def test_scores_of_stages_by_themselves_make_no_product() -> None:
    with pytest.raises(InputError, match="no product"):
        RewardJudge(Listener(), gather="product", asks="released-1")
    with pytest.raises(InputError, match="did you mean released-1"):
        RewardJudge(Listener(), asks="release-1")  # type: ignore[arg-type]
