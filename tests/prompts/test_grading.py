"""What a judge of answers is asked: versions never change, and everything it needs is in the text."""

from __future__ import annotations

import pytest

from stepsight.errors import InputError
from stepsight.prompts.grading import (
    asked_in,
    grade_turns,
    grading_prompts,
    option_turns,
    value_turns,
    yes_no_turns,
)

PROMPTS = grading_prompts("grading-1")


def test_a_published_version_never_changes() -> None:
    assert PROMPTS.digest == "fc878b4cd26c7417"


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean grading-1"):
        grading_prompts("grading-2")


def test_every_part_stands_in_the_text_and_can_be_found_again() -> None:
    options = {"A": "a {cube}", "D": "none"}
    (turn,) = option_turns(PROMPTS, "What is it?", options, "the cube")
    assert asked_in(turn.text) == (
        "option",
        {"question": "What is it?", "options": "A. a {cube}\nD. none\n", "prediction": "the cube"},
    )
    (turn,) = yes_no_turns(PROMPTS, "Is it?", "Yes.")
    assert asked_in(turn.text) == ("yes_no", {"question": "Is it?", "prediction": "Yes."})
    (turn,) = value_turns(PROMPTS, "How many?", "4\nor so")
    assert asked_in(turn.text) == ("value", {"question": "How many?", "prediction": "4\nor so"})
    (turn,) = grade_turns(PROMPTS, "x?", "-1<AND>-5", "-1")
    assert asked_in(turn.text) == ("grade", {"question": "x?", "answer": "-1<AND>-5", "prediction": "-1"})
    assert asked_in("What is it?") is None
