"""What is asked of the model that answers: the picture and the plain question.

Nothing here mentions stages or tags; the trained model writes them unasked (LLaVA-CoT, arXiv 2411.10440, section 3.1).
"""

from __future__ import annotations

from string import ascii_uppercase

from stepsight.errors import InputError
from stepsight.protocols import Turn
from stepsight.records import Question


def choice_letters(question: Question) -> tuple[str, ...]:
    """The letters of the question's choices, in order: A, B, C, ...

    Raises:
        InputError: there are more choices than letters.
    """
    count = len(question.choices)
    if count > len(ascii_uppercase):
        raise InputError(
            f"question {question.id} has {count} choices, and only {len(ascii_uppercase)} letters exist",
            hint="ask it without choices",
        )
    return tuple(ascii_uppercase[:count])


def choice_lines(question: Question) -> tuple[str, ...]:
    """One line `A. ...` for each choice of the question."""
    return tuple(
        f"{letter}. {choice}" for letter, choice in zip(choice_letters(question), question.choices, strict=True)
    )


def question_text(question: Question) -> str:
    """The question as the model sees it: in the words of `meta.wording` where its source has its own, else its text and
    a line for each choice."""
    wording = question.meta.get("wording")
    return wording if isinstance(wording, str) else "\n".join((question.text, *choice_lines(question)))


def answer_turns(question: Question) -> tuple[Turn, ...]:
    """The conversation whose next assistant turn is the staged answer: what was said earlier, and one user turn.

    Pictures stand first in their turn; those that no earlier turn shows stand in the last.
    """
    turns: list[Turn] = []
    shown = 0
    for said in question.meta.get("earlier", ()):
        images = question.images[shown : shown + said.get("images", 0)]
        turns.append(Turn(said["role"], said["text"], images))
        shown += len(images)
    return (*turns, Turn(role="user", text=question_text(question), images=question.images[shown:]))


def question_in_context(question: Question) -> str:
    """The question for those who are shown no earlier turns: behind what was said in them, if there are any."""
    said = [f"{turn.role.capitalize()}: {turn.text}" for turn in answer_turns(question)]
    return question_text(question) if len(said) == 1 else "\n".join(said)
