"""Answers whose stages stand in any order are parted by what was written before the CONCLUSION, and none is lost."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.reproduce.orders import AT_ONCE, BOTH, NONE, ORDERS, REASONED, by_order, order_of
from stepsight.stages import SEPARATOR, STAGES, Stage, render_stage


def written(stages: tuple[Stage, ...]) -> str:
    return SEPARATOR.join(render_stage(stage, "Two red cubes.") for stage in stages)


@pytest.mark.parametrize("stages", list(permutations(STAGES)))
def test_an_order_is_told_by_what_stands_before_the_conclusion(stages: tuple[Stage, ...]) -> None:
    place = {stage: number for number, stage in enumerate(stages)}
    if place[Stage.CONCLUSION] < place[Stage.REASONING]:
        expected = AT_ONCE
    elif place[Stage.CAPTION] < place[Stage.REASONING]:
        expected = BOTH
    else:
        expected = REASONED
    assert order_of(written(stages)) == expected


def test_stages_that_are_not_there_stand_before_nothing() -> None:
    assert order_of(written((Stage.CAPTION, Stage.REASONING))) == NONE
    assert order_of(written((Stage.REASONING, Stage.CONCLUSION))) == REASONED
    assert order_of(written((Stage.CAPTION, Stage.CONCLUSION))) == AT_ONCE
    assert order_of("Two.") == NONE


@given(st.lists(st.tuples(st.sampled_from(ORDERS), st.booleans()), max_size=30))
def test_every_answer_is_in_one_order(answers: list[tuple[str, bool]]) -> None:
    figures = by_order(answers)
    assert [one.order for one in figures] == [order for order in ORDERS if order in dict(answers)]
    assert all(one.share.n == len(answers) for one in figures)
    assert sum(one.accuracy.n for one in figures) == len(answers)
    right = sum(round((one.accuracy.value or 0) * one.accuracy.n) for one in figures)
    assert right == sum(right for _, right in answers)
