"""Conclusions in one form, so that two of them, or one and the known answer, can be held against each other.

Letters, choice texts, yes and no, numbers and short texts. It does not cover: paraphrases, units, number words, and an
answer inside a longer sentence; those stay as they are.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from stepsight.prompts.answer import choice_letters
from stepsight.records import Question

_LEAD = re.compile(
    r"^(?:(?:so|thus|therefore|hence),? )?(?:the )?(?:final |correct )?(?:answer|option|choice)(?: is:?|:) "
)
_LETTER = re.compile(r"^(?:option |choice )?\(?([a-z])(?:\) ?|[.:] |$)(.*)$")
_NUMBER = re.compile(r"^[-+]?\$?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d+)? ?%?$")
_EDGES = " ,;:!?\"'`*"


def is_correct(question: Question, conclusion: str) -> bool | None:
    """Whether `conclusion` says `question.answer`, by rules alone; None if the question has no known answer.

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


def ballot(question: Question, conclusion: str) -> str:
    """What a conclusion says, in the form in which equal answers are equal texts.

    With choices a choice is named by its letter, however it was written; `yes` and `no` stand for the sentences that
    begin with them.
    """
    place = choice_of(question, conclusion) if question.choices else None
    if place is not None:
        return choice_letters(question)[place]
    plain = normalise(conclusion)
    first = re.split(r"[^a-z]", plain, maxsplit=1)[0]
    return first if first in ("yes", "no") else plain


def normalise(text: str) -> str:
    """A short answer in one form: case, white space, end punctuation, `the answer is`, and the spelling of numbers.

    "The answer is B." -> "b"      "1,200.0" -> "1200"      " Red  cube! " -> "red cube"
    """
    plain = _trim(_LEAD.sub("", _trim(" ".join(text.casefold().split()))))
    if _NUMBER.match(plain):
        try:
            number = Decimal(re.sub(r"[,$% ]", "", plain))
        except InvalidOperation:
            return plain
        return f"{(number + 0).normalize():f}" + ("%" if plain.endswith("%") else "")
    return plain


def _trim(text: str) -> str:
    # A full stop at the front may begin a number.
    return text.lstrip(_EDGES).rstrip(f"{_EDGES}.")


def choice_of(question: Question, text: str) -> int | None:
    """Which choice `text` names: by its text first, then by its letter (`B`, `(B)`, `B.`, `B. red cube`)."""
    plain = normalise(text)
    texts = [normalise(choice) for choice in question.choices]
    if plain in texts:
        return texts.index(plain)
    letters = [letter.lower() for letter in choice_letters(question)]
    found = _LETTER.match(plain)
    if not found or found[1] not in letters:
        return None
    index = letters.index(found[1])
    # "B. red cube" where the red cube is A names no choice.
    return index if found[2] not in texts or texts.index(found[2]) == index else None
