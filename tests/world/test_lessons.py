"""Lessons ask in the judge's very prompts, and their labels are right by the checker's word."""

from __future__ import annotations

import re
from functools import cache
from typing import get_args

import pytest

from stepsight.prompts.answer import question_text
from stepsight.prompts.judge import judge_prompts, pair_turns, screen_turns
from stepsight.stages import SEPARATOR, Stage, parse, render
from stepsight.world.checker import check, check_caption, check_reasoning, read_caption
from stepsight.world.lessons import Lesson, LessonKind, draw_lesson
from stepsight.world.split import Posed, pose

PROMPTS = judge_prompts("short-1")
SEED = 31


@cache
def lesson(kind: LessonKind, index: int) -> Lesson:
    return draw_lesson(kind, seed=SEED, index=index, prompts=PROMPTS)


def posed(index: int) -> Posed:
    return pose("train", seed=SEED, index=index)


def pair(kind: LessonKind, index: int) -> tuple[str, str]:
    """The two texts of a pair, the better first by its label."""
    drawn = lesson(kind, index)
    unit = "ANSWER" if kind == "whole" else kind.upper()
    found = re.search(rf"Compare {unit}\n1\. (.*)\n2\. (.*)\Z", drawn.user, re.DOTALL)
    assert found
    (label,) = drawn.spans
    assert label.text in PROMPTS.options
    assert label.weight == 8.0
    first, second = found.groups()
    return (first, second) if label.text == PROMPTS.options[0] else (second, first)


@pytest.mark.parametrize("kind", get_args(LessonKind))
def test_a_lesson_is_the_same_for_ever_and_another_at_another_index(kind: LessonKind) -> None:
    again = draw_lesson(kind, seed=SEED, index=0, prompts=PROMPTS)
    assert (again.user, again.spans) == (lesson(kind, 0).user, lesson(kind, 0).spans)
    assert lesson(kind, 1).user != lesson(kind, 0).user


def test_an_answer_lesson_is_the_question_and_the_teachers_answer() -> None:
    for index in range(10):
        drawn, truth = lesson("answer", index), posed(index)
        assert drawn.user == question_text(truth.question())
        assert drawn.picture is not None
        assert "".join(span.text for span in drawn.spans) == render(truth.stages)


def test_a_read_lesson_follows_its_caption_which_is_given() -> None:
    wrong = 0
    for index in range(60):
        drawn, truth = lesson("read", index), posed(index)
        assert drawn.picture is None
        assert [span.weight for span in drawn.spans] == [1.0, 0.0, 1.0, 1.0]
        text = "".join(span.text for span in drawn.spans)
        assert text.count(SEPARATOR) == 3
        stages = parse(text).stages
        assert parse(text).valid
        things = read_caption(stages[Stage.CAPTION])
        assert things is not None
        assert not check_reasoning(truth.asked.program, things, stages[Stage.REASONING], truth.asked.choices[:0])[1:]
        wrong += bool(check_caption(truth.things, stages[Stage.CAPTION]))
    assert 12 < wrong < 42


@pytest.mark.parametrize("kind", ["summary", "caption", "reasoning", "conclusion", "whole"])
def test_a_pair_is_asked_in_the_judges_prompt(kind: LessonKind) -> None:
    for index in range(20):
        truth = posed(index)
        texts = pair(kind, index)
        (label,) = lesson(kind, index).spans
        shown = texts if label.text == PROMPTS.options[0] else texts[::-1]
        stage = None if kind == "whole" else Stage(kind.upper())
        (turn,) = pair_turns(PROMPTS, truth.question(), stage, truth.stages, *shown)
        assert lesson(kind, index).user == turn.text
        assert lesson(kind, index).picture is not None


def test_the_better_caption_has_fewer_faults() -> None:
    unequal = 0
    for index in range(80):
        better, worse = (read_caption(text) for text in pair("caption", index))
        assert better is not None
        assert worse is not None
        truth = set(posed(index).things)
        missed = len(truth ^ set(better)), len(truth ^ set(worse))
        assert missed[0] <= missed[1] + 1, index  # one wrong cell outweighs a dropped object in this count
        unequal += missed[0] < missed[1]
    assert unequal > 68


@pytest.mark.parametrize("kind", ["reasoning", "conclusion"])
def test_of_a_pair_of_later_stages_the_better_is_true_and_the_worse_false(kind: LessonKind) -> None:
    for index in range(60):
        truth, stage = posed(index), Stage(kind.upper())
        better, worse = (check(truth.question(), {stage: text}) for text in pair(kind, index))
        assert getattr(better, kind) is True
        assert getattr(worse, kind) is False


def test_the_better_whole_answer_is_the_true_one() -> None:
    for index in range(40):
        truth = posed(index)
        better, worse = pair("whole", index)
        assert better == " ".join(truth.stages[stage] for stage in PROMPTS.whole)
        assert worse != better


def test_the_better_summary_is_the_true_plan() -> None:
    for index in range(40):
        better, worse = pair("summary", index)
        assert better == posed(index).stages[Stage.SUMMARY]
        assert worse != better


def test_a_screen_lesson_says_yes_to_true_reasonings_only() -> None:
    said = []
    for index in range(80):
        drawn, truth = lesson("screen", index), posed(index)
        found = re.search(r"\nREASONING: (.*)\nIs the REASONING correct\?\Z", drawn.user, re.DOTALL)
        assert found
        (turn,) = screen_turns(PROMPTS, truth.question(), truth.stages[Stage.CAPTION], found[1])
        assert drawn.user == turn.text
        assert drawn.picture is None
        right = not check_reasoning(truth.asked.program, truth.things, found[1], truth.asked.choices)
        assert drawn.spans[0].text == PROMPTS.screen_options[0 if right else 1]
        said.append(right)
    assert 0.3 < sum(said) / len(said) < 0.7


@pytest.mark.parametrize("kind", ["caption", "reasoning"])
def test_the_better_text_stands_first_half_of_the_time(kind: LessonKind) -> None:
    first = sum(lesson(kind, index).spans[0].text == PROMPTS.options[0] for index in range(80))
    assert 25 < first < 55
