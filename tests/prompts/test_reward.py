"""What a reward model is asked about one stage: the question, and behind it a request in one versioned wording."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepsight.errors import InputError
from stepsight.prompts.answer import answer_turns, question_text
from stepsight.prompts.reward import reward_prompts, reward_turns
from stepsight.records import Question
from stepsight.stages import Stage

QUESTION = Question(id="q", text="Which is left?", choices=("cube", "ball"), images=(Path("a.png"),))
PROMPTS = reward_prompts("released-1")


def test_a_published_wording_never_changes() -> None:
    assert PROMPTS.digest == "d3ad8946f15091ab"


@pytest.mark.parametrize("stage", [Stage.SUMMARY, Stage.CAPTION, Stage.REASONING])
def test_a_stage_answers_the_question_and_a_request(stage: Stage) -> None:
    (turn,) = reward_turns(PROMPTS, QUESTION, stage)
    assert turn.text == f"{question_text(QUESTION)}\n{PROMPTS.requests[stage]}"
    assert (turn.role, turn.images) == ("user", QUESTION.images)
    assert not any(other.open in turn.text for other in Stage)


@pytest.mark.parametrize("stage", [Stage.CONCLUSION, None])
def test_a_whole_answer_answers_the_bare_question(stage: Stage | None) -> None:
    assert reward_turns(PROMPTS, QUESTION, stage) == answer_turns(QUESTION)


def test_an_unknown_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"did you mean released-1"):
        reward_prompts("released-2")
