"""How LLaVA-CoT-100k words its questions: options on lines, and a closing instruction (that of LLaVA-1.5's mixture)."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from stepsight.data.sources.reading import UnusableError

ANSWER_SHORTLY = "Answer the question using a single word or phrase."
ANSWER_BY_LETTER = "Answer with the option's letter from the given choices directly."


def lettered(question: str, choices: Sequence[str]) -> str:
    """The question with a line `A. ...` for each choice, and the wish for a letter."""
    return "\n".join((question, *option_lines(choices), ANSWER_BY_LETTER))


def option_lines(choices: Sequence[str]) -> list[str]:
    """A line `A. ...` for each choice."""
    return [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)]


def letter(index: int) -> str:
    """A for 0, B for 1, ..."""
    return ascii_uppercase[index]


def check_choice(choices: Sequence[str], index: int) -> str:
    """The choice number `index`, from 0.

    Raises:
        UnusableError: there are fewer than two choices or more than letters, one is empty, or `index` is none of them.
    """
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise UnusableError(f"{len(choices)} choices")
    if not all(choice.strip() for choice in choices):
        raise UnusableError("a choice is empty")
    if not 0 <= index < len(choices):
        raise UnusableError(f"answer {index} is none of {len(choices)} choices, counted from 0")
    return choices[index]


def tidy(text: str) -> str:
    """White space as one blank each, none at the ends."""
    return " ".join(text.split())
