"""MathVista's checks of a value against the known answer.

A choice is matched as `options` does; a whole number must be one to Python's `int`, so `5.0` is none and `1_0` is ten;
a number with decimals must be one to `float` and equal, without any tolerance. The answers of another type (two lists
among the thousand questions) are always wrong.

Source: `post_check` in vlmeval/dataset/utils/mathvista.py of open-compass/VLMEvalKit. There a judge first takes the
value out of the answer, unless the answer is the right value itself; 0 is never taken for that.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from stepsight.errors import InputError
from stepsight.evaluation.scoring.cells import Cell, said
from stepsight.evaluation.scoring.generations import NEWEST, Generation
from stepsight.evaluation.scoring.options import match_option


@dataclass(frozen=True)
class Sought:
    """What is known of a question. `option` is the letter of the right choice; `choices` are texts by letter."""

    question_type: str
    answer_type: str
    answer: Cell
    option: str = ""
    choices: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Checked:
    """A value held against the answer.

    `value` is what was read, None if the text is none of its type. `direct`: VLMEvalKit would ask no judge.
    """

    right: bool
    value: str | None
    direct: bool


def choices_of(text: str) -> dict[str, str]:
    """The column `choices`, a list as text, by letter.

    Raises:
        InputError: it is no list, or longer than the alphabet.
    """
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = None
    if not isinstance(listed, list) or len(listed) > len(ascii_uppercase):
        raise InputError(f"the choices {text[:80]!r} are no list", hint="take MathVista's file as it was published")
    return dict(zip(ascii_uppercase, map(str, listed), strict=False))


def skills_of(text: str) -> tuple[str, ...]:
    """The column `skills`: a list as text, or one skill."""
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return (text,)
    return tuple(map(str, listed)) if isinstance(listed, list | tuple) else (text,)


def check(sought: Sought, response: Cell, *, generation: Generation = NEWEST, verbose: bool = False) -> Checked:
    """Hold a response, or what a judge took out of it, against the answer.

    Args:
        sought: the question.
        response: as the table has it (`cells.as_read`): where every response is a number, they are numbers.
        generation: of the rules for choices.
        verbose: as in `match_option`.
    """
    if sought.question_type == "multi_choice":
        match = match_option(said(response), sought.choices or {}, generation=generation, verbose=verbose)
        return Checked(match.letter == sought.option, match.letter, direct=match.letter is not None)
    if sought.answer_type not in ("integer", "float"):
        return Checked(right=False, value=None, direct=False)
    kind = int if sought.answer_type == "integer" else float
    value = _number(response, kind)
    if value is None:
        return Checked(right=False, value=None, direct=False)
    right = value == _number(sought.answer, kind)
    return Checked(right, str(value), direct=right and bool(value))


def _number(cell: Cell, kind: type[int] | type[float]) -> int | float | None:
    try:
        value = kind("" if cell is None else cell)
    except (ValueError, OverflowError):
        return None
    return None if value != value else value
