"""The order of an answer is told by what was written before its CONCLUSION."""

from __future__ import annotations

from itertools import permutations

import pytest

from stepsight.reproduce.orders import AT_ONCE, BOTH, NONE, REASONED, order_of
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
