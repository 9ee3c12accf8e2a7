"""Yes and no: every rule by example, and against recorded answers of VLMEvalKit's function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.recorded.reading import recorded

from stepsight.evaluation.scoring.generations import GENERATIONS
from stepsight.evaluation.scoring.yes_no import read_yes_no


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Yes", "Yes"),
        ("yes.", "Yes"),
        ("Yes!", "Yes"),
        ('"Yes"', "Yes"),
        ("a(yes)", "Yes"),
        ("y.e.s.", "Yes"),
        ("**Yes**", "Unknown"),
        ("Yes: it is", "Unknown"),
        ("'Yes'", "Unknown"),
        ("Yes…", "Unknown"),
        ("<CONCLUSION> Yes </CONCLUSION>", "Yes"),
        ("<CONCLUSION>Yes</CONCLUSION>", "Yes"),
        ("There is no bar. Yes", "Unknown"),
        ("yes/no", "Unknown"),
        ("Not at all", "Unknown"),
        ("in 1,000 cases (yes)", "Yes"),
        ("1,000 items/yes", "Unknown"),
        ("the answer is no.", "No"),
        ("no.5", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_the_rules_by_example(text: str, wanted: str) -> None:
    assert read_yes_no(text) == wanted


def test_yes_and_no_together_are_neither() -> None:
    assert read_yes_no("yes and no") == "Unknown"
    assert read_yes_no("no, no") == "No"


@pytest.mark.parametrize("mark", list(';/[]"{}()=+\\_-><@`,?!'))
def test_each_of_twenty_marks_vanishes_next_to_a_blank_and_else_becomes_one(mark: str) -> None:
    assert read_yes_no(f"so{mark}yes{mark}so") == "Yes"
    # Once next to a blank it vanishes everywhere, and glues words.
    assert read_yes_no(f"so{mark}yes{mark}so {mark}") == "Unknown"
    assert read_yes_no(f"so {mark}yes{mark} so") == "Yes"


def test_whether_a_mark_touches_a_blank_is_said_of_the_text_as_it_was() -> None:
    # The semicolon becomes a blank, which the slash beside it did not touch before.
    assert read_yes_no("so;/yes/so") == "Yes"


@pytest.mark.parametrize("mark", list(":*#'"))
def test_other_marks_stay(mark: str) -> None:
    assert read_yes_no(f"so {mark}yes so") == "Unknown"


def test_a_number_with_thousands_makes_every_mark_vanish() -> None:
    assert read_yes_no("so/yes/so") == "Yes"
    assert read_yes_no("so/yes/so 1,000") == "Unknown"
    assert read_yes_no("so/yes/so 1, 000") == "Yes"


def test_full_stops_go_that_touch_no_digit() -> None:
    assert read_yes_no("yes.") == "Yes"
    assert read_yes_no("yes.5") == "Unknown"


def test_only_the_first_32_full_stops_are_looked_at() -> None:
    assert read_yes_no("x. " * 31 + "yes.") == "Yes"
    assert read_yes_no("x. " * 32 + "yes.") == "Unknown"


def test_until_may_2025_full_stops_behind_digits_counted_among_the_32() -> None:
    text = "1. " * 32 + "yes."
    assert read_yes_no(text, generation="2024") == "Unknown"
    assert read_yes_no(text, generation="2025-08") == "Yes"
    assert read_yes_no(text, generation="2026-06") == "Yes"


MARKS = [*';/[]"{}()=+\\_-><@`,?!:*']
PIECES = st.sampled_from(["yes", "no", "Yes", "NO", "not", "1,000", "2.5", " ", ". ", ".", "…", *MARKS])


def test_thousands_of_odd_texts_are_read_as_vlmevalkit_read_them() -> None:
    rows = recorded("yes_no")
    assert len(rows) > 3000
    for row in rows:
        found = [read_yes_no(row["text"], generation=generation) for generation in GENERATIONS]
        assert found == row["said"], row["text"]


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_other_word_said_besides_makes_it_unknown(text: str) -> None:
    said = read_yes_no(text)
    if said != "Unknown" and "," not in text:
        other = "no" if said == "Yes" else "yes"
        assert read_yes_no(f"{text} {other} x") != said
