"""MathVista's checks: every rule by example, and against recorded answers of VLMEvalKit's function."""

from __future__ import annotations

import pytest
from tests.evaluation.recorded.reading import recorded

from stepsight.errors import InputError
from stepsight.evaluation.scoring.cells import Cell
from stepsight.evaluation.scoring.mathvista import Sought, check, choices_of, skills_of

ANGLES = Sought(
    question_type="multi_choice",
    answer_type="text",
    answer="145°",
    option="C",
    choices={"A": "135°", "B": "140°", "C": "145°", "D": "150°"},
)


def whole(answer: Cell) -> Sought:
    return Sought(question_type="free_form", answer_type="integer", answer=answer)


def decimal(answer: Cell) -> Sought:
    return Sought(question_type="free_form", answer_type="float", answer=answer)


def test_a_choice_is_matched_by_letter_or_text() -> None:
    assert check(ANGLES, "C").right
    assert check(ANGLES, "145°").right
    wrong = check(ANGLES, "B")
    assert (wrong.right, wrong.value, wrong.direct) == (False, "B", True)
    nothing = check(ANGLES, "perhaps")
    assert (nothing.right, nothing.value, nothing.direct) == (False, None, False)
    assert check(ANGLES, "Cannot determine the answer").value == "Z"


def test_a_choice_follows_the_generation() -> None:
    text = "C it is, as I have said before"
    assert check(ANGLES, text, generation="2024").right
    assert not check(ANGLES, text, generation="2025-08").right


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", "4"), (" 4 ", "4"), ("+4", "4"), ("1_0", "10"), ("٤", "4"), ("5.0", None), ("4 cubes", None), ("", None)],
)
def test_a_whole_number_is_what_python_reads_as_one(text: str, value: str | None) -> None:
    assert check(whole("4"), text).value == value
    assert check(whole("4"), text).right == (value == "4")


def test_a_number_with_decimals_is_equal_or_wrong() -> None:
    assert check(decimal("0.5"), "5e-1").right
    assert not check(decimal("0.5"), "0.50001").right
    assert check(decimal("0.5"), "0.50001").value == "0.50001"
    assert check(decimal("0.5"), "nan").value is None
    assert check(decimal("0.5"), "half").value is None


def test_only_a_right_value_other_than_zero_is_taken_without_a_judge() -> None:
    assert check(whole("4"), "4").direct
    assert not check(whole("4"), "5").direct
    zero = check(whole("0"), "0")
    assert (zero.right, zero.direct) == (True, False)


def test_numbers_of_a_table_of_numbers_are_cut_as_python_cuts_them() -> None:
    assert check(whole("5"), 5.7).right
    assert check(whole("5"), float("inf")).value is None
    assert check(whole("5"), None).value is None
    assert check(whole(5), "5").right


def test_a_list_is_never_right() -> None:
    for response in ("[1, 2]", "None", "nan"):
        found = check(Sought("free_form", "list", "[1, 2]"), response)
        assert (found.right, found.value, found.direct) == (False, None, False)
    assert not check(Sought("free_form", "text", "4"), "4").right


def test_an_answer_that_is_no_number_is_never_right() -> None:
    assert not check(whole("4.0"), "4").right
    assert not check(whole(None), "4").right


def test_lists_in_cells_are_read() -> None:
    assert choices_of("['a', 2.5, 'A']") == {"A": "a", "B": "2.5", "C": "A"}
    assert skills_of("['algebraic reasoning', 'x']") == ("algebraic reasoning", "x")
    assert skills_of("statistical reasoning") == ("statistical reasoning",)
    for text in ("a, b", "{'a'}", "nan", str(list(range(27)))):
        with pytest.raises(InputError, match="are no list"):
            choices_of(text)


def test_thousands_of_responses_are_checked_as_vlmevalkit_checked_them() -> None:
    rows = recorded("values")
    assert len(rows) > 2500
    for row in rows:
        found = check(Sought(**row["sought"]), row["response"])
        assert (found.right, found.direct) == (row["right"], row["direct"]), row
