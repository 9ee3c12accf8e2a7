"""Rules that say whether a conclusion is right."""

from __future__ import annotations

from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.conclusions import is_correct, normalise
from stepsight.records import Question


def asked(answer: str | None, *choices: str) -> Question:
    return Question(id="q", text="?", answer=answer, choices=choices)


@pytest.mark.parametrize(
    ("answer", "conclusion", "right"),
    [
        ("3", "3", True),
        ("3", " 3. ", True),
        ("3", "3.0", True),
        ("3", "The answer is 3.", True),
        ("3", "13", False),
        ("3", "-3", False),
        ("0.5", ".5", True),
        ("1200", "1,200", True),
        ("1,2", "12", False),
        ("5%", "5 %", True),
        ("5%", "5", False),
        ("red cube", "Red  Cube!", True),
        ("red cube", "red", False),
        ("red cube", "the red cube", False),
        ("yes", "Yes, it is.", True),
        ("no", "No", True),
        ("no", "nothing", False),
        ("yes", "no", False),
        ("no", "", False),
        ("answer sheet", "sheet", False),
    ],
)
def test_open_answers(answer: str, conclusion: str, right: bool) -> None:
    assert is_correct(asked(answer), conclusion) is right


@pytest.mark.parametrize("answer", ["B", "b", "red cube", "(B)"])
@pytest.mark.parametrize(
    ("conclusion", "right"),
    [
        ("B", True),
        ("b.", True),
        ("(B)", True),
        ("B) red cube", True),
        ("B. red cube", True),
        ("The answer is B.", True),
        ("Option B", True),
        ("Red cube.", True),
        ("A", False),
        ("blue ball", False),
        ("A. red cube", False),
        ("D", False),
        ("B or A", False),
        ("", False),
        ("a red cube", False),
    ],
)
def test_letters_and_texts_of_choices_are_the_same(answer: str, conclusion: str, right: bool) -> None:
    assert is_correct(asked(answer, "blue ball", "red cube"), conclusion) is right


@given(st.integers(1, 26).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(0, n - 1))))
def test_every_letter_names_its_choice_and_no_other(numbers: tuple[int, int, int]) -> None:
    n, answer, given_ = numbers
    question = asked(ascii_uppercase[answer], *(f"thing {k}" for k in range(n)))
    assert is_correct(question, ascii_uppercase[given_]) is (answer == given_)
    assert is_correct(question, f"thing {given_}") is (answer == given_)


def test_choices_that_are_letters_are_taken_as_texts() -> None:
    assert is_correct(asked("A", "C", "A"), "A") is True
    assert is_correct(asked("A", "C", "A"), "B") is True
    assert is_correct(asked("A", "C", "A"), "C") is False


def test_a_question_without_an_answer_cannot_be_scored() -> None:
    assert is_correct(asked(None), "3") is None


@given(st.text(max_size=30))
def test_a_text_is_always_its_own_answer(text: str) -> None:
    assert is_correct(asked(text), text)
    assert normalise(f"  {text.upper()}  ".lower()) == normalise(text.upper().lower())
