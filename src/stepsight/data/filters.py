"""Filters: each looks at one thing in a teacher's staged answer and says what is wrong with it, or nothing.

Rules only; none asks a model, and none raises, whatever the text. Where rules cannot tell whether the conclusion says
the known answer, `agreement.py` goes on. They do not cover whether caption and reasoning are true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import Field, model_validator

from stepsight.conclusions import ballot, choice_of
from stepsight.data.agreement import Agreement, agreement
from stepsight.data.lessons import Lesson
from stepsight.data.reasons import Reason, Rejection
from stepsight.data.refusals import refuses
from stepsight.data.staged_rows import PLACEHOLDER
from stepsight.recipes import Recipe
from stepsight.stages import STAGES, Stage

Stages = Mapping[Stage, str]


class Bounds(Recipe):
    """The least and the most words of a stage; a Chinese, Japanese or Korean character counts as a word."""

    least: int = Field(default=1, ge=0)
    most: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Bounds:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, above most, {self.most}")
        return self


class FilterSettings(Recipe):
    """What the filters allow.

    choice_words: words that the conclusion of a question with choices may have beyond its longest choice.
    topic_words: a caption must share a word with a question that has at least so many different ones of some length; 0
    lets all pass. undecided: what becomes of a conclusion of which nobody can tell whether it says the known answer.
    """

    summary: Bounds = Bounds(least=3, most=300)
    caption: Bounds = Bounds(least=3, most=800)
    reasoning: Bounds = Bounds(least=3, most=2000)
    conclusion: Bounds = Bounds(least=1, most=300)
    choice_words: int = Field(default=6, ge=0)
    topic_words: int = Field(default=4, ge=0)
    keep_undecided: bool = False

    def bounds(self, stage: Stage) -> Bounds:
        """Those of a stage."""
        return {
            Stage.SUMMARY: self.summary,
            Stage.CAPTION: self.caption,
            Stage.REASONING: self.reasoning,
            Stage.CONCLUSION: self.conclusion,
        }[stage]


Filter = Callable[[Lesson, Stages, FilterSettings], str]
"""Called with the lesson, its four stages and the settings; says what is wrong, empty if nothing is."""

_KNEW = re.compile(
    r"\b(?:standard|reference|provided|supplied|expected|ground[- ]truth) (?:answer|solution)s?\b"
    r"|\b(?:the|a) (?:given|known) (?:correct )?answer\b|\bcorrect answer (?:was |is )?(?:given|provided|known)\b"
    r"|\b(?:according to|as) the hint\b|\bthe hint (?:says|tells|gives|states)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"\b(?:final |correct |right )?(?:answer|choice|option|solution)(?: to the question| here)?"
    r"(?: is| would be| must be|:)(?P<said>[^\n]{0,200})",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+", re.UNICODE)
# Words of questions as such, and of what is to be done with the things asked about (as in CLEVR-Math): none of them
# says what a picture shows, and a caption need not repeat them.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
    about above again also answer appear appears based because been before being below best between both
    choices choose context could describe directly does doing each following from given have help here image
    into just letter like likely look many more most much name need only option options other over phrase
    picture please question region seen select short should show shown shows single some such tell than that
    their them then there these they this those type under using very what when where which while whose will
    with word would your
    add added adding away count counted equal every everything fewer fewest greater greatest item items largest least
    left less lots number object objects remain remaining remains remove removed same smallest subtract subtracted take
    taken thing things total
    """,
    )
)


def marked_picture(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """A stage contains the mark that stands for the picture in rows; who reads them would look for another one."""
    for stage in STAGES:
        if PLACEHOLDER in stages[stage]:
            return f"{stage.value} contains {PLACEHOLDER}"
    return ""


def refusal(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """The conclusion declines to answer, and that is not the known answer itself."""
    concluded = stages[Stage.CONCLUSION]
    if not refuses(concluded) or agreement(lesson.question, lesson.answer, concluded) is Agreement.SAME:
        return ""
    return f"the conclusion declines to answer: {_shown(concluded)}"


def length(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """A stage is shorter or longer than it may be."""
    for stage in STAGES:
        bounds, count = settings.bounds(stage), words(stages[stage])
        if not bounds.least <= count <= bounds.most:
            return f"{stage.value} has {count} words; allowed are {bounds.least} to {bounds.most}"
    return ""


def choice_too_long(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """Where there are choices, the conclusion is to name one, not to explain it."""
    if not lesson.question.choices:
        return ""
    most = max(words(choice) for choice in lesson.question.choices) + settings.choice_words
    count = words(stages[Stage.CONCLUSION])
    return f"the conclusion has {count} words; a choice takes at most {most}" if count > most else ""


def disagreement(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """By the rules the conclusion says something else than the known answer."""
    concluded = stages[Stage.CONCLUSION]
    if agreement(lesson.question, lesson.answer, concluded) is not Agreement.DIFFERENT:
        return ""
    return f"the conclusion is {_shown(concluded)}, the known answer {_shown(lesson.answer)}"


def knew_answer(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """A stage speaks of the answer or the hint that the teacher was given, and the question does not speak of one."""
    for stage in STAGES:
        found = _KNEW.search(stages[stage])
        if found and found.group().casefold() not in lesson.human.casefold():
            return f"{stage.value} speaks of {_shown(found.group())}"
    return ""


def caption_leaks(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """The caption says "the answer is" and then the known answer; an answer printed in a picture is let pass."""
    question = lesson.question
    known = ballot(question, lesson.answer)
    for found in _STATES.finditer(stages[Stage.CAPTION]):
        said = found["said"]
        for end in (*re.finditer(r"[.,;:!?)](?=\s|$)", said), re.search(r"$", said)):
            claimed = said[: end.end()] if end else said
            named = choice_of(question, claimed) if question.choices else None
            if ballot(question, claimed) == known and (named is not None or claimed.strip(" .,:;!?\"'")):
                return f"the caption says {_shown(found.group())}"
    return ""


def caption_off_topic(lesson: Lesson, stages: Stages, settings: FilterSettings) -> str:
    """A question of several telling words, and the caption has none of them."""
    if not settings.topic_words:
        return ""
    asked = _telling(lesson.question.text)
    if len(asked) < settings.topic_words:
        return ""
    shown = _telling(stages[Stage.CAPTION])
    for choice in lesson.question.choices:
        asked |= _telling(choice)
    return "" if asked & shown else f"the caption has none of the question's words ({', '.join(sorted(asked)[:6])})"


FILTERS: Mapping[Reason, Filter] = MappingProxyType(
    {
        Reason.FORMAT: marked_picture,
        Reason.REFUSAL: refusal,
        Reason.CHOICE_TOO_LONG: choice_too_long,
        Reason.DISAGREES: disagreement,
        Reason.LENGTH: length,
        Reason.KNEW_ANSWER: knew_answer,
        Reason.CAPTION_LEAKS: caption_leaks,
        Reason.CAPTION_OFF_TOPIC: caption_off_topic,
    }
)
"""All of them, in the order in which they look; the first that finds something gives the reason."""


def sift(lesson: Lesson, stages: Stages, settings: FilterSettings) -> Rejection | None:
    """What the first filter that finds something says; None if the rules let the answer pass."""
    for reason, look in FILTERS.items():
        if detail := look(lesson, stages, settings):
            return Rejection(reason, detail)
    return None


def words(text: str) -> int:
    """How many words a text has; one of signs alone counts as a word."""
    return len(_WORD.findall(text)) or int(bool(text.strip()))


def _telling(text: str) -> set[str]:
    """Its words of some length that are not common in questions, cut so that `sphere` and `spheres` meet."""
    found = (word for word in _WORD.findall(text.casefold()) if len(word) > 3 and word not in _COMMON)
    return {word[:5].rstrip("s") for word in found}


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else f"{line[:117]}...")
