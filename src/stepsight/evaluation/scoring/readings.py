"""What a rule made of one text, and what a judge is asked where no rule could make anything of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Literal

from pydantic import Field

from stepsight.evaluation.scoring.generations import NEWEST, Generation
from stepsight.evaluation.scoring.mmvet import read_grade
from stepsight.evaluation.scoring.options import NO_REPLY, match_option
from stepsight.evaluation.scoring.yes_no import read_yes_no
from stepsight.records import Record


class By(StrEnum):
    """By what a text was read, or why it was not."""

    LETTER = "letter"
    PHRASE = "phrase"
    TEXT = "text"
    NONE_OF_THEM = "none of them"  # a refusal, or the letter Z
    YES_NO = "yes or no"
    VALUE = "value"
    PLAIN = "plain text"  # by our own rule, `answers.is_correct`
    NEVER = "never right"  # no rule gives such a question a point
    JUDGE = "judge"
    JUDGE_FAILED = "judge failed"
    UNREAD = "unread"
    UNGRADED = "ungraded"  # only a judge can say
    NO_CONCLUSION = "no conclusion"
    MISSING = "missing"  # there is no prediction


class Reading(Record):
    """What one text says: `given` a letter, `Yes`, a number, and `hit` from 0 to 1; None if it could not be scored.

    `asks`: VLMEvalKit would put this text to a judge.
    """

    index: str
    hit: float | None
    given: str
    by: By
    asks: bool = False


class Ask(Record):
    """What a judge is asked about one text, with all that its prompt may show.

    option: which of `options` the prediction means, `Z` for none. yes-no: `Yes`, `No` or `Unknown`. value: the answer
    in the prediction. grade: how far the prediction agrees with `answer`, from 0 to 1. `temperatures` are those of
    VLMEvalKit's tries, one after the other until a reply can be read (`read_reply`).
    """

    kind: Literal["option", "yes-no", "value", "grade"]
    dataset: str
    index: str
    question: str
    prediction: str
    options: Mapping[str, str] = Field(default_factory=dict)
    answer: str = ""
    temperatures: tuple[float, ...] = ()


Extractor = Callable[[Ask], Awaitable[str | None]]
"""Asks a judge and returns what its reply says (`read_reply`); None if it failed, which leaves the text unscored."""


def read_reply(ask: Ask, reply: str, *, generation: Generation = NEWEST) -> str | None:
    """What a judge's reply says, by VLMEvalKit's rules; None if it cannot be read and the judge should try again.

    `Unknown`, to a question for yes or no, is told from a reply that cannot be read by the word itself; VLMEvalKit
    tries again after either.
    """
    if NO_REPLY in reply:
        return None
    match ask.kind:
        case "option":
            return match_option(reply, ask.options, generation=generation).letter
        case "yes-no":
            said = read_yes_no(reply, generation=generation)
            return said if said != "Unknown" or "unknown" in reply.lower() else None
        case "value":
            return reply
        case "grade":
            return None if read_grade(reply) is None else reply.strip()
