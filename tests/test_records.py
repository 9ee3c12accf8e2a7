"""Records are frozen, strict, and add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage, Verdict
from stepsight.stages import STAGES, Stage

usages = st.builds(Usage, **{name: st.integers(0, 1000) for name in Usage.model_fields})


def candidate(index: int, stage: Stage, text: str) -> Candidate:
    return Candidate(id=index, stage=stage, slot=0, seed=index, piece=Piece(text=text), finish=Finish.STOP, tokens=1)


def trace(**changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "question": Question(id="q", text="How many?"),
        "strategy": "stage-beam",
        "judge": None,
        "seed": 0,
        "settings": {},
        "candidates": [candidate(index, stage, f"{stage.key} ") for index, stage in enumerate(STAGES)],
        "verdicts": [],
        "chosen": [0, 1, 2, 3],
        "usage": Usage(),
        "seconds": 0.5,
    }
    return Trace(**fields | changes)


@given(usages, usages, usages)
def test_usage_adds_up_field_by_field(one: Usage, two: Usage, three: Usage) -> None:
    total = one + two + three
    assert total == one + (two + three) == two + one + three
    for name in Usage.model_fields:
        assert getattr(total, name) == getattr(one, name) + getattr(two, name) + getattr(three, name)


def test_a_trace_reads_as_its_chosen_candidates_in_order() -> None:
    assert trace().text == "summary caption reasoning conclusion "
    assert trace(chosen=[3, 0]).text == "conclusion summary "


def test_a_trace_survives_json() -> None:
    whole = trace(verdicts=[Verdict(judge="vote", stage=None, order=(1, 0), scores=(float("inf"), float("-inf")))])
    assert Trace.model_validate_json(whole.model_dump_json()) == whole


@pytest.mark.parametrize("wrong", [{"text": ""}, {"colour": 1}, {"choices": "AB"}])
def test_a_malformed_question_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Question.model_validate({"id": "q", "text": "How many?"} | wrong)


def test_a_verdict_orders_at_least_one_candidate() -> None:
    with pytest.raises(ValidationError):
        Verdict(judge="vote", stage=None, order=())


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Piece(text="a"), "text", "b")  # noqa: B010 - the type checker would refuse the plain assignment
