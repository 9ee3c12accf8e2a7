"""What the served teacher says where no question of the world is asked: of two answers, and of what it cannot know.

Both are the plain truth, whatever shares of faults it was given: a judge that errs would make it impossible to tell
which of a build's faults are those of the teacher.
"""

from __future__ import annotations

import re

from PIL import Image, ImageStat

from stepsight.conclusions import choice_of
from stepsight.data.agreement import Agreement, agreement
from stepsight.data.leaks import choices_in
from stepsight.data.refusals import refuses
from stepsight.prompts.teacher import compared_answers
from stepsight.records import Question
from stepsight.world.questions import SYNONYMS
from stepsight.world.scene import VALUES

UNKNOWN = "I cannot answer this: I know only the questions of the drawn world that I was started with."

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FACTS = {
    **{word: ("number", str(number)) for number, word in enumerate(_NUMBERS)},
    **{word: ("polar", word) for word in ("yes", "no")},
    **{
        word: (kind, value)
        for kind, values in VALUES.items()
        for value in values
        for word in SYNONYMS.get(value, (value,))
    },
}
"""The words that answers of the world are made of, each with what it tells about what."""


def verdict(text: str) -> Agreement | None:
    """Whether the two answers say the same that a text asks to be compared; None if it asks for something else.

    The text is that of `prompts.teacher.agreement_turns`, in any version. A sentence counts as what it says in words of
    the world: "There are two of them." says 2. Where it has none of them, or more than one could be meant, the answer
    is that it cannot be told.
    """
    compared = compared_answers(text)
    if compared is None:
        return None
    asked, known, said = compared
    if refuses(said):
        return Agreement.DIFFERENT
    question = Question(id="", text=asked, choices=choices_in(asked))
    found = agreement(question, known, said)
    if found is not Agreement.UNKNOWN:
        return found
    wanted = _facts(_spelled(question, known))
    # "2 cubes" is an answer to how many, whatever it tells of their shape.
    kinds = {kind for kind, _ in wanted}
    told = {(kind, value) for kind, value in _facts(_spelled(question, said)) if kind in kinds}
    if not told:
        return Agreement.UNKNOWN
    if wanted == told:
        return Agreement.SAME
    return Agreement.UNKNOWN if wanted & told else Agreement.DIFFERENT


def ignorance(picture: Image.Image | None) -> str:
    """An honest reply to what is no question of the world. Of a picture it tells the colour, which it can see."""
    if picture is None:
        return UNKNOWN
    red, green, blue = (round(mean) for mean in ImageStat.Stat(picture.convert("RGB")).mean)
    return f"The mean color of this picture is #{red:02x}{green:02x}{blue:02x}. {UNKNOWN}"


def _spelled(question: Question, answer: str) -> str:
    """The answer, or, where it names a choice, that choice's text."""
    place = choice_of(question, answer) if question.choices else None
    return answer if place is None else question.choices[place]


def _facts(text: str) -> set[tuple[str, str]]:
    """What a text tells in words of the world, as pairs of kind and value; plurals count as the word."""
    found = set()
    for word in re.findall(r"[a-z]+|\d+", text.casefold()):
        fact = ("number", word) if word.isdigit() else _FACTS.get(word) or _FACTS.get(word.removesuffix("s"))
        found |= {fact} if fact else set()
    return found
