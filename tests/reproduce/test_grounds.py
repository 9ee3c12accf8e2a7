"""What an answer rests on: a true CAPTION or not, a REASONING that follows from it or not."""

from __future__ import annotations

import random

from stepsight.records import Question
from stepsight.reproduce.grounds import ASTRAY, MISREAD, NEITHER, SOUND, UNTOLD, grounds_of
from stepsight.stages import Stage
from stepsight.world.corruption import corrupt_things, corrupt_walk
from stepsight.world.split import Posed, pose
from stepsight.world.teacher import write_caption, write_reasoning
from stepsight.world.walks import Unanswerable, walk

POSED = [one for one in (pose("test", seed=31, index=index) for index in range(80)) if not one.asked.choices]


COUNTS = {"count", "subtract-one", "subtract-two", "add"}
"""Families whose reasonings look at every object, whatever comes of it."""


def test_an_answer_rests_on_what_was_done_to_it() -> None:
    rng = random.Random(0)
    seen = []
    for posed in POSED:
        program, true = posed.asked.program, dict(posed.stages)

        def found(changed: dict[Stage, str], posed: Posed = posed) -> str:
            seen.append(grounds_of(posed.question(), dict(posed.stages) | changed))
            return seen[-1]

        assert found({}) == SOUND
        wrong_way = write_reasoning(program, corrupt_walk(rng, program, walk(program, posed.things), posed.things), "")
        if wrong_way != true[Stage.REASONING]:
            assert found({Stage.REASONING: wrong_way}) == ASTRAY
        things = corrupt_things(rng, posed.things, 1)
        if set(things) == set(posed.things):
            continue
        misread = write_caption(rng, things)
        if program.family in COUNTS:
            # The reasoning about what is really there looks at other objects than those of this caption.
            assert found({Stage.CAPTION: misread}) == NEITHER
        try:
            reasoning = write_reasoning(program, walk(program, things), "")
        except Unanswerable:
            continue
        assert found({Stage.CAPTION: misread, Stage.REASONING: reasoning}) == MISREAD
    assert min(map(seen.count, (SOUND, ASTRAY, MISREAD, NEITHER))) > 20


def test_what_is_missing_or_not_of_the_world_cannot_be_told() -> None:
    posed = POSED[0]
    stages = dict(posed.stages)
    for stage in (Stage.CAPTION, Stage.REASONING):
        assert grounds_of(posed.question(), {one: stages[one] for one in stages if one is not stage}) == UNTOLD
    assert grounds_of(posed.question(), stages | {Stage.CAPTION: "A table."}) == UNTOLD
    assert grounds_of(Question(id="x", text="What is this?", answer="a cat"), stages) == UNTOLD
