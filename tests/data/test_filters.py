"""Each filter finds what it is for, lets pass what it must, and takes any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.data.agreement import Agreement, agreement
from stepsight.data.filters import FILTERS, Bounds, FilterSettings, sift, words
from stepsight.data.lessons import Lesson, lesson_of
from stepsight.data.reasons import Reason
from stepsight.data.refusals import refuses
from stepsight.records import Question
from stepsight.stages import STAGES, Stage

FREE = lesson_of(Question(id="f", text="How many shiny purple cubes stand behind the small sphere?", answer="3"))
CHOICE = lesson_of(Question(id="c", text="What is it?", choices=("a red cube", "a ball"), answer="B"))
ALLOW = FilterSettings()


def stages(lesson: Lesson, **changed: str) -> dict[Stage, str]:
    good = {
        "SUMMARY": "I will count the cubes.",
        "CAPTION": "Three purple cubes and a ball.",
        "REASONING": "There are three of them.",
        "CONCLUSION": lesson.answer,
    }
    return {stage: {**good, **changed}[stage.value] for stage in STAGES}


def reason(lesson: Lesson, settings: FilterSettings = ALLOW, **changed: str) -> Reason | None:
    found = sift(lesson, stages(lesson, **changed), settings)
    return None if found is None else found.reason


BAD: list[tuple[Reason, Lesson, dict[str, str]]] = [
    (Reason.REFUSAL, FREE, {"CONCLUSION": "I'm sorry, but I cannot help with that."}),
    (Reason.REFUSAL, FREE, {"CONCLUSION": "I can\N{RIGHT SINGLE QUOTATION MARK}t identify the person."}),
    (
        Reason.CHOICE_TOO_LONG,
        CHOICE,
        {"CONCLUSION": "B, because a ball is what can be seen at the left"},
    ),
    (Reason.DISAGREES, FREE, {"CONCLUSION": "4"}),
    (Reason.DISAGREES, CHOICE, {"CONCLUSION": "A"}),
    (Reason.DISAGREES, CHOICE, {"CONCLUSION": "a red cube"}),
    (Reason.LENGTH, FREE, {"SUMMARY": "Count."}),
    (Reason.LENGTH, FREE, {"REASONING": "and " * 2001}),
    (Reason.KNEW_ANSWER, FREE, {"REASONING": "The standard answer is 3, so there are three."}),
    (Reason.KNEW_ANSWER, FREE, {"SUMMARY": "I will reach the given answer."}),
    (Reason.KNEW_ANSWER, FREE, {"CAPTION": "Purple cubes; the hint says three."}),
    (Reason.CAPTION_LEAKS, FREE, {"CAPTION": "Purple cubes. The answer is 3."}),
    (Reason.CAPTION_LEAKS, CHOICE, {"CAPTION": "A round thing, so the correct option is B, the ball"}),
    (Reason.CAPTION_LEAKS, CHOICE, {"CAPTION": "A round thing. Answer: a ball"}),
    (Reason.FORMAT, FREE, {"REASONING": "In <image> there are three."}),
    (Reason.CAPTION_OFF_TOPIC, FREE, {"CAPTION": "A man walks along a street with his dog."}),
]


@pytest.mark.parametrize(("wanted", "lesson", "changed"), BAD)
def test_what_is_wrong_is_found_with_its_reason(wanted: Reason, lesson: Lesson, changed: dict[str, str]) -> None:
    found = sift(lesson, stages(lesson, **changed), ALLOW)
    assert found is not None
    assert found.reason is wanted
    assert found.detail


def test_every_filter_has_a_bad_text() -> None:
    assert set(FILTERS) == {wanted for wanted, _, _ in BAD}


@pytest.mark.parametrize(
    ("lesson", "changed"),
    [
        (FREE, {}),
        (CHOICE, {}),
        (FREE, {"CONCLUSION": "The answer is 3."}),
        (CHOICE, {"CONCLUSION": "B. a ball"}),
        (FREE, {"CAPTION": "A worksheet with purple cubes; printed on it: the answer is 5."}),
        (FREE, {"CAPTION": "Purple cubes. What the answer is: see below."}),
        (FREE, {"SUMMARY": "I cannot answer at once, so I count."}),
        (FREE, {"CONCLUSION": "No purple cubes are there"}),  # rules cannot tell; not a refusal
    ],
)
def test_what_is_right_passes(lesson: Lesson, changed: dict[str, str]) -> None:
    assert sift(lesson, stages(lesson, **changed), ALLOW) is None


def test_a_known_answer_that_sounds_like_a_refusal_is_none() -> None:
    lesson = lesson_of(Question(id="u", text="Who is it?", answer="I cannot determine that"))
    assert reason(lesson) is None


def test_settings_move_the_bounds() -> None:
    assert reason(FREE, FilterSettings(summary=Bounds(least=1)), SUMMARY="Count.") is None
    assert reason(FREE, FilterSettings(caption=Bounds(most=4))) is Reason.LENGTH
    long = "B, because a ball is what can be seen in the picture on the left"
    assert reason(CHOICE, FilterSettings(choice_words=20), CONCLUSION=long) is None
    assert reason(FREE, FilterSettings(topic_words=0), CAPTION="A man walks along a street.") is None
    with pytest.raises(ValueError, match="above most"):
        Bounds(least=3, most=2)


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("a b", 2), ("\u4e09\u4e2a", 2), ("!", 1), ("  ", 0), ("3.5", 2), ("a_b", 2)]
)
def test_words(text: str, count: int) -> None:
    assert words(text) == count


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I'm sorry, I can't assist with that request.", True),
        ("I am unable to determine who this is.", True),
        ("As an AI language model, I have no eyes", True),
        ("I must decline.", True),
        ("I can't view the image.", True),
        ("Sorry, that is not possible.", True),
        ("No", False),
        ("I do not see any cubes.", False),
        ("The man is sorry and cannot help it.", False),
        ("It cannot be 3.", False),
        ("", False),
    ],
)
def test_declining(text: str, declines: bool) -> None:
    assert refuses(text) is declines


NUMBERS = Question(id="n", text="How much?")
CHOICES = CHOICE.question


@pytest.mark.parametrize(
    ("question", "known", "said", "wanted"),
    [
        (NUMBERS, "3", "3.0", Agreement.SAME),
        (NUMBERS, "1200", "1,200", Agreement.SAME),
        (NUMBERS, "3", "4", Agreement.DIFFERENT),
        (NUMBERS, "39%", "39", Agreement.UNKNOWN),
        (NUMBERS, "0.39", "39%", Agreement.UNKNOWN),
        (NUMBERS, "39%", "40", Agreement.DIFFERENT),
        (NUMBERS, "3", "three", Agreement.UNKNOWN),
        (NUMBERS, "yes", "Yes, it is.", Agreement.SAME),
        (NUMBERS, "yes", "No.", Agreement.DIFFERENT),
        (NUMBERS, "red cube", "The red cube", Agreement.UNKNOWN),
        (NUMBERS, "red cube", "Red cube.", Agreement.SAME),
        (CHOICES, "B", "(B)", Agreement.SAME),
        (CHOICES, "B", "a ball", Agreement.SAME),
        (CHOICES, "The answer is B.", "B", Agreement.SAME),
        (CHOICES, "B", "A", Agreement.DIFFERENT),
        (CHOICES, "B", "the round one", Agreement.UNKNOWN),
    ],
)
def test_agreement_by_rules(question: Question, known: str, said: str, wanted: Agreement) -> None:
    assert agreement(question, known, said) is wanted
    assert agreement(question, said, known) is wanted


ODD = st.one_of(
    st.text(st.characters(exclude_categories=())),  # halves of characters too
    st.sampled_from(
        ["9" * 5000, "1e999", "\u0663", "%", "$", "-.", "A" * 3000, "((((", "the answer is ", "\0", "I'm sorry"]
    ),
    st.from_regex(r"(the answer is|option) [A-D0-9%.,$()-]{0,9}"),
)


@given(ODD, ODD, ODD, ODD, ODD, st.lists(ODD.filter(bool), max_size=3))
def test_no_text_crashes_a_filter(
    summary: str, caption: str, reasoning: str, conclusion: str, answer: str, choices: list[str]
) -> None:
    lesson = Lesson(0, Question(id="q", text="What?", choices=tuple(choices)), answer, "q")
    texts = dict(zip(STAGES, (summary, caption, reasoning, conclusion), strict=True))
    for look in FILTERS.values():
        assert isinstance(look(lesson, texts, ALLOW), str)
    assert agreement(lesson.question, answer, conclusion) in Agreement
    assert agreement(lesson.question, answer, answer) is Agreement.SAME
