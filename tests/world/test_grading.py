"""Answers that are graded: the truth is right everywhere, and a fault is found at its word and at its stage's end."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.records import Candidate, Finish, Piece
from stepsight.stages import SEPARATOR, STAGES, Stage, parse, render, render_stage
from stepsight.world.corruption import EVERY_FAULT, OWN_FAULTS
from stepsight.world.grading import grade
from stepsight.world.split import pose
from stepsight.world.spoiling import SPOILED, spoil
from stepsight.world.truth import is_true

INDEX = st.integers(0, 5000)


@given(index=INDEX)
def test_all_of_the_truth_is_right(index: int) -> None:
    posed = pose("train", seed=3, index=index)
    answer = render(posed.stages)
    marks = grade(posed.question(), answer)
    assert all(mark.right for mark in marks)
    ends = [mark for mark in marks if mark.closes]
    assert [answer[mark.start : mark.end] for mark in ends] == [stage.close for stage in STAGES]
    assert len({(mark.start, mark.end) for mark in marks}) == len(marks)


@given(index=INDEX, muddled=st.sampled_from([0.0, 1.0]), faults=st.sampled_from([EVERY_FAULT, OWN_FAULTS]))
def test_the_end_of_a_stage_is_right_where_the_stage_is(index: int, muddled: float, faults: object) -> None:
    posed = pose("train", seed=4, index=index)
    stages = spoil(random.Random(index), posed, faults, muddled=muddled)  # type: ignore[arg-type]  # sampled
    answer = render(stages)
    assert parse(answer).valid
    ends = dict(zip(STAGES, [mark.right for mark in grade(posed.question(), answer) if mark.closes], strict=True))
    line: list[Candidate] = []
    for number, stage in enumerate(STAGES):
        piece = Piece(text=(SEPARATOR if number else "") + render_stage(stage, stages[stage]))
        one = Candidate(id=number, stage=stage, slot=0, seed=0, piece=piece, finish=Finish.STOP, tokens=1)
        truth = is_true(posed.question(), line, one)
        assert truth is None or ends[stage] == truth
        line.append(one)


@given(index=INDEX)
def test_what_is_spoiled_goes_wrong_once_and_the_rest_follows(index: int) -> None:
    posed = pose("train", seed=5, index=index)
    rng = random.Random(index)
    stages = spoil(rng, posed, EVERY_FAULT)
    first = random.Random(index).choices(list(SPOILED), list(SPOILED.values()))[0]
    ends = dict(
        zip(STAGES, [mark.right for mark in grade(posed.question(), render(stages)) if mark.closes], strict=True)
    )
    wrong = [stage for stage in STAGES if not ends[stage]]
    if first is None:
        assert not wrong
    elif first is Stage.CAPTION:
        # What follows from a wrong caption may still come to the right answer.
        assert set(wrong) in ({Stage.CAPTION}, {Stage.CAPTION, Stage.CONCLUSION}, {Stage.CAPTION, Stage.REASONING})
    elif first is Stage.REASONING:
        assert wrong[0] is Stage.REASONING
    else:
        assert wrong == [first] or (first is Stage.SUMMARY and not wrong)


@pytest.mark.parametrize("kind", ["dropped", "shape", "cell"])
def test_a_fault_is_marked_where_it_stands(kind: str) -> None:
    posed = pose("train", seed=6, index=2)
    caption = posed.stages[Stage.CAPTION]
    things = re.findall(r"[A-G][1-7] \w+ \w+ \w+ \w+", caption)
    shape = things[1].rpartition(" ")[2]
    other = "cube" if shape != "cube" else "sphere"
    wrong = {
        "dropped": caption.replace(f"{things[1]}, ", ""),
        "shape": caption.replace(things[1], things[1].replace(shape, other)),
        "cell": caption.replace(things[1][:2], "G7" if things[1][:2] != "G7" else "A1"),
    }[kind]
    answer = render({**posed.stages, Stage.CAPTION: wrong})
    marks = [mark for mark in grade(posed.question(), answer) if mark.end <= answer.index("</CAPTION>") + 10]
    words = [answer[mark.start : mark.end] for mark in marks if not mark.right]
    assert words[-1] == "</CAPTION>"
    expected = {"dropped": things[2][:2], "shape": other, "cell": "G7" if things[1][:2] != "G7" else "A1"}[kind]
    assert words[0] == expected


@given(text=st.text(max_size=60), index=st.integers(0, 20), stage=st.sampled_from(STAGES))
def test_nothing_that_a_model_may_write_is_too_odd(text: str, index: int, stage: Stage) -> None:
    posed = pose("train", seed=7, index=index)
    answer = render({**posed.stages, stage: text if text.strip() else "x"})
    for mark in grade(posed.question(), answer):
        assert 0 <= mark.start < mark.end <= len(answer)
    assert grade(posed.question(), text) == () or "</" in text


@given(index=st.integers(0, 300), cut=st.integers(0, 400))
def test_an_answer_that_ends_early_is_graded_as_far_as_it_goes(index: int, cut: int) -> None:
    posed = pose("train", seed=8, index=index)
    answer = render(posed.stages)
    begun = answer[:cut]
    ends = [mark for mark in grade(posed.question(), begun) if mark.closes]
    assert len(ends) == sum(stage.close in begun for stage in STAGES)
