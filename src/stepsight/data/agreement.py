"""Whether a conclusion says the known answer: rules first, then, where they cannot tell, a model that reads both.

The rules settle choices, numbers, yes and no, and texts that are equal once normalised. All else is `unknown` to them:
paraphrases, units, an answer inside a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from stepsight.conclusions import ballot, choice_of, normalise
from stepsight.prompts.teacher import TeacherPrompts, agreement_turns
from stepsight.protocols import Engine, SampleRequest
from stepsight.records import Finish, Question
from stepsight.seeds import derive_seed

JUDGE_TOKENS = 300
"""The most tokens of a verdict; the paper's judge has as many."""


class Agreement(StrEnum):
    """Whether two answers say the same; not being able to tell is an answer."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Opinion:
    """What a judge thinks, in its own words in `evidence`."""

    agreement: Agreement
    evidence: str


def agreement(question: Question, answer: str, conclusion: str) -> Agreement:
    """What the rules say."""
    if normalise(answer) == normalise(conclusion) or ballot(question, answer) == ballot(question, conclusion):
        return Agreement.SAME
    if question.choices:
        known, named = choice_of(question, answer), choice_of(question, conclusion)
        if known is not None and named is not None:
            return Agreement.DIFFERENT
    if _is_polar(answer) and _is_polar(conclusion):
        return Agreement.DIFFERENT
    known_number, number = _number(answer), _number(conclusion)
    if known_number is not None and number is not None:
        # 39 % may stand for 39 and for 0.39: that is for somebody who reads the question.
        percent = ("%" in answer) != ("%" in conclusion)
        alike = known_number in (number, number / 100, number * 100)
        return Agreement.UNKNOWN if percent and alike else Agreement.DIFFERENT
    return Agreement.UNKNOWN


async def judged(
    engine: Engine, prompts: TeacherPrompts, question: Question, answer: str, conclusion: str, *, seed: int = 0
) -> Opinion:
    """What a model says that reads question, known answer and conclusion, not the picture.

    A reply that cannot be read is `unknown`, with the reply as evidence.

    Raises:
        StepsightError: the engine failed.
    """
    request = SampleRequest(
        turns=agreement_turns(prompts, question, answer, conclusion),
        seeds=(derive_seed(seed, question.id, "agreement", 0),),
        max_tokens=JUDGE_TOKENS,
        temperature=0.0,
    )
    completion = (await engine.sample(request)).completions[0]
    said = completion.piece.text
    if completion.finish is not Finish.STOP:
        return Opinion(Agreement.UNKNOWN, f"{said} (ended by {completion.finish}: {completion.reason})".strip())
    return Opinion(read_opinion(prompts, said), said)


def read_opinion(prompts: TeacherPrompts, reply: str) -> Agreement:
    """The one verdict that a reply holds as a word; `unknown` if it holds none or several."""
    words = set(re.findall(r"\w+", reply.casefold()))
    named = {
        Agreement.SAME: prompts.same,
        Agreement.DIFFERENT: prompts.different,
        Agreement.UNKNOWN: prompts.unknown,
    }
    found = [verdict for verdict, word in named.items() if word in words]
    # "not the same" and its like say nothing that could be relied on.
    denied = {"not", "no", "isn", "aren", "don", "doesn"} & words
    return found[0] if len(found) == 1 and not denied else Agreement.UNKNOWN


def _is_polar(text: str) -> bool:
    return normalise(text).split(" ", 1)[0].strip(".,;:!") in ("yes", "no")


def _number(text: str) -> Decimal | None:
    plain = normalise(text).removesuffix("%").removeprefix("$")
    if not re.fullmatch(r"[-+]?\d{1,30}(?:\.\d{1,30})?", plain, re.ASCII):
        return None
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None
