"""Lessons ask in the judge's very prompts, and their labels are right by the checker's word."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import get_args

import pytest

from stepsight.prompts.answer import question_text
from stepsight.prompts.judge import judge_prompts, pair_turns, screen_turns
from stepsight.prompts.tasks import DESCRIBE
from stepsight.stages import SEPARATOR, Stage, parse, render
from stepsight.world.checker import check_caption, check_reasoning, read_caption
from stepsight.world.corruption import OWN_FAULTS
from stepsight.world.lessons import Lesson, LessonKind, Span, draw_lesson
from stepsight.world.scene import CELLS, SHAPES
from stepsight.world.split import SPLITS, Posed, pose, share_of

PROMPTS = judge_prompts("short-2")
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
    found = re.search(rf"{unit} 1\. (.*)\nCompare 2\. (.*)\Z", drawn.user, re.DOTALL)
    assert found
    (label,) = drawn.spans
    assert label.text in PROMPTS.options
    assert label.weight == 8.0
    first, second = found.groups()
    return (first, second) if label.text == PROMPTS.options[0] else (second, first)


def hints(kind: LessonKind, index: int) -> dict[Stage, str]:
    """The stages that a judging prompt gives as chosen before, in its own words."""
    found = re.findall(r"^(CAPTION|REASONING): (.*)$", lesson(kind, index).user, re.MULTILINE)
    return {Stage(name): text for name, text in found}


def true_of_caption(kind: LessonKind, index: int, reasoning: str) -> bool:
    """Whether a reasoning is right if the caption that the prompt gives is."""
    things, asked = read_caption(hints(kind, index)[Stage.CAPTION]), posed(index).asked
    assert things is not None
    return not check_reasoning(asked.program, things, reasoning, asked.choices)


@pytest.mark.parametrize("kind", get_args(LessonKind))
def test_a_lesson_is_the_same_for_ever_and_another_at_another_index(kind: LessonKind) -> None:
    again = draw_lesson(kind, seed=SEED, index=0, prompts=PROMPTS)
    assert (again.user, again.spans) == (lesson(kind, 0).user, lesson(kind, 0).spans)
    assert (lesson(kind, 1).user, lesson(kind, 1).spans) != (lesson(kind, 0).user, lesson(kind, 0).spans)


def test_an_answer_lesson_is_the_question_and_the_teachers_answer() -> None:
    for index in range(10):
        drawn, truth = lesson("answer", index), posed(index)
        assert drawn.user == question_text(truth.question())
        assert drawn.picture is not None
        assert "".join(span.text for span in drawn.spans) == render(truth.stages)


def test_a_describing_lesson_asks_nothing_and_says_what_stands_where() -> None:
    for index in range(10):
        drawn = lesson("describe", index)
        assert drawn.user == DESCRIBE
        assert drawn.picture is not None
        (span,) = drawn.spans
        assert span.weight == 1.0
        assert not parse(span.text).stages
        assert check_caption(posed(index).things, span.text) == ()


def test_a_told_lesson_gives_the_true_caption_and_answers_at_once_or_reasons_first_without_tags() -> None:
    at_once = 0
    for index in range(40):
        drawn, truth = lesson("told", index), posed(index)
        caption, question = drawn.user.split("\n\n", 1)
        assert drawn.picture is None
        assert check_caption(truth.things, caption) == ()
        assert question == question_text(truth.question())
        (span,) = drawn.spans
        assert not parse(span.text).stages
        *reasoning, conclusion = span.text.split("\n\n")
        assert conclusion == truth.stages[Stage.CONCLUSION]
        assert reasoning in ([], [truth.stages[Stage.REASONING]])
        at_once += not reasoning
    assert 10 <= at_once <= 30


def test_a_look_lesson_ends_behind_the_caption_without_teaching_to_end() -> None:
    for index in range(10):
        drawn, truth = lesson("look", index), posed(index)
        assert render(truth.stages).startswith("".join(span.text for span in drawn.spans))
        assert drawn.spans[-2].text.endswith(Stage.CAPTION.close)
        assert drawn.spans[-1] == Span("", 0.0)


def muddled(kind: LessonKind, index: int) -> Lesson:
    return draw_lesson(kind, seed=SEED, index=index, prompts=PROMPTS, muddled=1.0)


@pytest.mark.parametrize("kind", ["caption", "reasoning"])
def test_of_a_muddled_pair_the_better_has_fewer_wrong_words(kind: LessonKind) -> None:
    share = []
    for index in range(60):
        drawn = muddled(kind, index)
        border = drawn.user.rindex("\nCompare 2. ")
        wrong = [mark for mark in drawn.marks if not mark.right]
        first = sum(mark.start < border for mark in wrong)
        assert (first < len(wrong) - first) == (drawn.spans[0].text == PROMPTS.options[0])
        share.append(len(wrong) / len(drawn.marks))
    plain = [len([mark for mark in lesson(kind, index).marks if not mark.right]) for index in range(60)]
    assert sum(share) / 60 > 2 * sum(plain) / sum(len(lesson(kind, index).marks) for index in range(60))


def owned(kind: LessonKind, index: int, crowded: float = 0.0) -> Lesson:
    return draw_lesson(kind, seed=SEED, index=index, prompts=PROMPTS, faults=OWN_FAULTS, crowded=crowded)


def test_own_faults_are_mostly_shapes_and_objects_left_out() -> None:
    kinds: Counter[str] = Counter()
    for index in range(300):
        drawn = owned("caption", index)
        for mark in drawn.marks:
            word = drawn.user[mark.start : mark.end]
            if not mark.right:
                kinds["shape" if word in SHAPES else "place" if word in CELLS or word == "." else "other"] += 1
    assert kinds["shape"] > 0.5 * kinds.total()
    assert kinds["place"] > 0.15 * kinds.total()


def test_own_faults_of_a_multiple_choice_are_at_the_options() -> None:
    late = asked = 0
    for index in range(200):
        drawn = owned("reasoning", index)
        if posed(index).asked.choices:
            asked += 1
            wrong = [mark for mark in drawn.marks if not mark.right]
            late += bool(wrong) and all(
                re.search(r"[A-H]\. \S+ $|option $", drawn.user[: mark.start]) for mark in wrong
            )
    assert 0.4 * asked < late < 0.9 * asked


@pytest.mark.parametrize("kind", ["caption", "reasoning", "screen", "whole", "summary", "conclusion"])
def test_lessons_on_full_scenes_are_the_longest(kind: LessonKind) -> None:
    full = pose("train", seed=SEED, index=3, crowded=True)
    assert len(full.things) in (6, 7)
    assert share_of(full.scene) in SPLITS["train"].shares
    lengths = [sum(len(owned(kind, index, crowded).user) for index in range(40)) for crowded in (0.0, 1.0)]
    assert lengths[0] < lengths[1] or kind in ("summary", "conclusion")


def test_answers_are_never_about_full_scenes_only() -> None:
    assert owned("answer", 5, crowded=1.0).user == lesson("answer", 5).user


def test_a_muddled_screen_lesson_is_labelled_by_the_checker() -> None:
    for index in range(60):
        drawn = muddled("screen", index)
        caption, reasoning = re.findall(r"^(?:CAPTION|REASONING): (.*)$", drawn.user, re.MULTILINE)
        things, asked = read_caption(caption), posed(index).asked
        assert things is not None
        right = not check_reasoning(asked.program, things, reasoning, asked.choices)
        assert drawn.spans[0].text == PROMPTS.screen_options[0 if right else 1]


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
        (turn,) = pair_turns(PROMPTS, truth.question(), stage, hints(kind, index), *shown)
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


def test_the_better_reasoning_is_right_if_the_caption_is() -> None:
    mistaken = 0
    for index in range(60):
        better, worse = pair("reasoning", index)
        assert true_of_caption("reasoning", index, better)
        assert not true_of_caption("reasoning", index, worse)
        mistaken += bool(check_caption(posed(index).things, hints("reasoning", index)[Stage.CAPTION]))
    assert 5 < mistaken < 30, "some captions are wrong, so that the picture cannot stand in for them"


def test_the_better_conclusion_is_the_one_that_the_reasoning_comes_to() -> None:
    for index in range(60):
        better, worse = pair("conclusion", index)
        assert re.findall(r"\w+", hints("conclusion", index)[Stage.REASONING])[-1] == better != worse


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
        given = hints("screen", index)
        (turn,) = screen_turns(PROMPTS, truth.question(), given[Stage.CAPTION], given[Stage.REASONING])
        assert drawn.user == turn.text
        assert drawn.picture is None
        right = true_of_caption("screen", index, given[Stage.REASONING])
        assert drawn.spans[0].text == PROMPTS.screen_options[0 if right else 1]
        said.append(right)
    assert 0.3 < sum(said) / len(said) < 0.7


@pytest.mark.parametrize("kind", ["caption", "reasoning"])
def test_the_better_text_stands_first_half_of_the_time(kind: LessonKind) -> None:
    first = sum(lesson(kind, index).spans[0].text == PROMPTS.options[0] for index in range(80))
    assert 25 < first < 55


def test_going_through_the_options_weighs_what_it_is_told_to() -> None:
    seen = 0
    for index in range(60):
        plain = draw_lesson("answer", seed=4, index=index, prompts=judge_prompts("short-2"))
        heavy = draw_lesson("answer", seed=4, index=index, prompts=judge_prompts("short-2"), option_weight=7.0)
        assert "".join(span.text for span in heavy.spans) == "".join(span.text for span in plain.spans)
        weighed = [span.text for span in heavy.spans if span.weight == 7.0]
        assert len(weighed) == ("That is option" in "".join(span.text for span in plain.spans))
        for text in weighed:
            seen += 1
            assert re.fullmatch(r" A\. \S+ (yes|no)(, [B-D]\. \S+ (yes|no))*", text)
            assert text.endswith(" yes")
    assert seen > 3
