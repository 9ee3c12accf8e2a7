"""Why an answer of a teacher is not used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """One word per filter; what exactly was found stands in the rejection's `detail`."""

    FORMAT = "format"
    """Not exactly the four stages in their order, after all tries; or the mark of a picture stands in one."""
    TRUNCATED = "truncated"
    """Cut at the most tokens of a reply, after all tries."""
    REFUSAL = "refusal"
    """The teacher, its server or the conclusion declines to answer."""
    DISAGREES = "disagrees"
    """The conclusion says something else than the known answer."""
    UNDECIDED = "undecided"
    """Neither the rules nor the judge can tell whether the conclusion says the known answer."""
    CHOICE_TOO_LONG = "choice-too-long"
    """The conclusion of a question with choices says much more than a choice."""
    CAPTION_LEAKS = "caption-leaks"
    """The caption states the answer."""
    CAPTION_OFF_TOPIC = "caption-off-topic"
    """The caption shares no word with a question that has several."""
    KNEW_ANSWER = "knew-answer"
    """A stage speaks of the answer that the teacher was given."""
    LENGTH = "length"
    """A stage is shorter or longer than allowed."""
    PICTURE = "picture"
    """The question's picture cannot be read."""
    TOO_LONG = "too-long"
    """The question does not fit into the teacher's context."""
    ENGINE_ERROR = "engine-error"
    """The server ended the reply with an error, or failed; failures are tried again at the next start."""


@dataclass(frozen=True)
class Rejection:
    """Why, and what exactly was found."""

    reason: Reason
    detail: str
