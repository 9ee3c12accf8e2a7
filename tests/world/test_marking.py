"""Marks agree with the checker: a right text bears no wrong mark, and a wrong word is marked."""

from __future__ import annotations

import random

import pytest

from stepsight.prompts.judge import judge_prompts
from stepsight.stages import Stage
from stepsight.world.corruption import corrupt_things, corrupt_walk
from stepsight.world.lessons import draw_lesson
from stepsight.world.marking import mark_caption, mark_reasoning
from stepsight.world.split import pose
from stepsight.world.teacher import write_caption, write_reasoning
from stepsight.world.walks import walk


@pytest.mark.parametrize("split", ["train", "hard"])
def test_true_stages_bear_no_wrong_mark(split: str) -> None:
    for index in range(150):
        posed = pose(split, seed=31, index=index)
        caption = mark_caption(posed.things, posed.stages[Stage.CAPTION])
        reasoning = mark_reasoning(
            posed.asked.program, posed.things, posed.stages[Stage.REASONING], posed.asked.choices
        )
        assert len(caption) == 5 * len(posed.things) + 1
        assert all(mark.right for mark in caption)
        assert all(mark.right for mark in reasoning), posed.stages[Stage.REASONING]


def test_a_wrong_caption_bears_a_wrong_mark_at_the_fault() -> None:
    rng = random.Random(4)
    for index in range(200):
        posed = pose("train", seed=32, index=index)
        wrong = corrupt_things(rng, posed.things, 1)
        text = write_caption(rng, wrong)
        words = [text[mark.start : mark.end] for mark in mark_caption(posed.things, text) if not mark.right]
        assert words
        if [thing.cell for thing in wrong] == [thing.cell for thing in posed.things]:
            changed = [one for one, other in zip(wrong, posed.things, strict=True) if one != other]
            assert words == [next(word for word in words if word in changed[0].words)]


def test_a_wrong_reasoning_bears_a_wrong_mark() -> None:
    rng = random.Random(5)
    missed = total = 0
    for index in range(300):
        posed = pose("train", seed=33, index=index)
        program = posed.asked.program
        way = corrupt_walk(rng, program, walk(program, posed.things), posed.things)
        text = write_reasoning(program, way, "")
        if text == write_reasoning(program, walk(program, posed.things), ""):
            continue
        total += 1
        missed += all(mark.right for mark in mark_reasoning(program, posed.things, text))
    assert total > 250
    assert missed == 0


@pytest.mark.parametrize("kind", ["caption", "reasoning", "screen", "conclusion", "summary", "whole"])
def test_lessons_carry_marks_on_the_judged_words(kind: str) -> None:
    prompts = judge_prompts("short-2")
    for index in range(40):
        lesson = draw_lesson(kind, seed=34, index=index, prompts=prompts)  # type: ignore[arg-type]  # parametrised
        assert lesson.marks
        assert all(0 <= mark.start < mark.end <= len(lesson.user) for mark in lesson.marks)
        wrong = [mark for mark in lesson.marks if not mark.right]
        if kind in ("conclusion", "summary"):
            assert len(wrong) == 1
