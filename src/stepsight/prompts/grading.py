"""What is asked of a model that reads or grades benchmark answers where no rule can.

The tasks are VLMEvalKit's (which option is meant, yes or no, the value in an answer, a grade from 0 to 1), and replies
are read by its rules; the words are our own, not VLMEvalKit's, so scores with a judge are close to its, never the same.
A published version never changes; a new wording gets a new version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from string import Formatter
from types import MappingProxyType

from stepsight.prompts.versions import chosen
from stepsight.protocols import Turn


@dataclass(frozen=True)
class GradingPrompts:
    """One versioned set of texts.

    `option` is a template over {question}, {options}, {prediction}; an `option_line` over {letter}, {text}. `yes_no`
    and `value` are over {question}, {prediction}; `grade` over {question}, {answer}, {prediction}.
    """

    version: str
    option: str
    option_line: str
    yes_no: str
    value: str
    grade: str

    @property
    def digest(self) -> str:
        """A hash of every text in the set, to be kept beside results."""
        return hashlib.sha256("\0".join(astuple(self)).encode()).hexdigest()[:16]


def grading_prompts(version: str) -> GradingPrompts:
    """The set of that version.

    Raises:
        InputError: there is none; the hint has the nearest.
    """
    return chosen(_SETS, version, "grading")


def option_turns(
    prompts: GradingPrompts, question: str, options: Mapping[str, str], prediction: str
) -> tuple[Turn, ...]:
    """Ask which option an answer means; the reply wanted is its letter, or Z."""
    lines = "".join(prompts.option_line.format(letter=letter, text=text) for letter, text in options.items())
    return _turn(prompts.option.format(question=question, options=lines, prediction=prediction))


def yes_no_turns(prompts: GradingPrompts, question: str, prediction: str) -> tuple[Turn, ...]:
    """Ask whether an answer says yes or no; the reply wanted is yes, no or unknown."""
    return _turn(prompts.yes_no.format(question=question, prediction=prediction))


def value_turns(prompts: GradingPrompts, question: str, prediction: str) -> tuple[Turn, ...]:
    """Ask for the value in an answer; the reply wanted is that value alone."""
    return _turn(prompts.value.format(question=question, prediction=prediction))


def grade_turns(prompts: GradingPrompts, question: str, answer: str, prediction: str) -> tuple[Turn, ...]:
    """Ask how far an answer agrees with the known one; the reply wanted is a number from 0 to 1."""
    return _turn(prompts.grade.format(question=question, answer=answer, prediction=prediction))


def asked_in(text: str) -> tuple[str, dict[str, str]] | None:
    """What is asked in a text of any version, and its parts by name; None of any other text.

    The kinds are `option`, `yes_no`, `value` and `grade`. It is for those who stand in for a model.
    """
    for prompts in _SETS.values():
        for kind in ("option", "yes_no", "value", "grade"):
            parts = Formatter().parse(getattr(prompts, kind))
            form = "".join(re.escape(said) + (f"(?P<{name}>.*?)" if name else "") for said, name, _, _ in parts)
            if found := re.fullmatch(form, text, re.DOTALL):
                return kind, found.groupdict()
    return None


def _turn(text: str) -> tuple[Turn, ...]:
    return (Turn(role="user", text=text),)


_FIRST = GradingPrompts(
    version="grading-1",
    option=(
        "Somebody was asked a question about a picture, with options to choose from. You do not see the picture. Say "
        "which option the answer means. Do not answer the question yourself.\n\n"
        "Question:\n{question}\n\n"
        "Options:\n{options}\n"
        "Answer:\n{prediction}\n\n"
        "Reply with the letter of that option, and with nothing else. If the answer means none of the options, or "
        "more than one, reply with Z."
    ),
    option_line="{letter}. {text}\n",
    yes_no=(
        "Somebody was asked a question about a picture that can be answered with yes or no. You do not see the "
        "picture. Say which of the two the answer means. Do not answer the question yourself.\n\n"
        "Question:\n{question}\n\n"
        "Answer:\n{prediction}\n\n"
        "Reply with one word: yes, no, or, if the answer says neither, unknown."
    ),
    value=(
        "Somebody was asked a question about a picture. You do not see the picture. Take the final result out of the "
        "answer, in the form that the question asks for: the letter of a choice, a whole number, a number with "
        "decimals, or a list. Leave out units and everything else. Do not answer the question yourself.\n\n"
        "Question:\n{question}\n\n"
        "Answer:\n{prediction}\n\n"
        "Reply with that result, and with nothing else. If the answer gives none, reply with: none given"
    ),
    grade=(
        "Somebody was asked a question about a picture. You do not see the picture, but the correct answer is known. "
        "Grade how far the given answer agrees with it. Where the correct answer has several parts joined by <AND>, "
        "all of them must be given for a full grade, and each counts alike; where it has several joined by <OR>, any "
        "one of them will do. What is said beyond the correct answer does not matter unless it contradicts it.\n\n"
        "Question:\n{question}\n\n"
        "Correct answer:\n{answer}\n\n"
        "Given answer:\n{prediction}\n\n"
        "Reply with the grade, one of 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9 and 1.0, and with nothing else."
    ),
)

_SETS: Mapping[str, GradingPrompts] = MappingProxyType({_FIRST.version: _FIRST})
GRADING = _FIRST.version
"""The version that is used unless another is named."""
