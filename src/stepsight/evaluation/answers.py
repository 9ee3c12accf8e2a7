"""Whether a conclusion says the known answer, by rules alone (no judge model is asked); see `conclusions`."""

from __future__ import annotations

import re

from stepsight.conclusions import choice_of, normalise
from stepsight.records import Question


def is_correct(question: Question, conclusion: str) -> bool | None:
    """Whether `conclusion` says `question.answer`; None if the question has no known answer.

    With choices, the letter and the text of a choice are the same, in the answer as in the conclusion. A conclusion
    that is neither is wrong.
    """
    if question.answer is None:
        return None
    if question.choices:
        known, given = choice_of(question, question.answer), choice_of(question, conclusion)
        if known is not None:
            return given == known
    known_text, given_text = normalise(question.answer), normalise(conclusion)
    if known_text in ("yes", "no"):
        return re.split(r"[^a-z]", given_text, maxsplit=1)[0] == known_text
    return given_text == known_text
