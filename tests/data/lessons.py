"""Lessons, answers and a teacher for the tests of building: it answers what a script says of each question."""

from __future__ import annotations

import re
from collections.abc import Callable

from stepsight.data.lessons import Lesson, lesson_of
from stepsight.engines.scripted import ScriptedEngine
from stepsight.protocols import Capabilities, Completion, SampleRequest
from stepsight.records import Question
from stepsight.stages import STAGES, render

EVERYTHING = Capabilities(prefix=True, logprobs=True, images=True, seeds=True)


def lesson(number: int, **changed: object) -> Lesson:
    """Question `q<number>`, whose answer is its number."""
    known = {"id": f"q{number}", "text": f"Which number has q{number}?", "answer": str(number), "source": "test"}
    return lesson_of(Question.model_validate({**known, **changed}), number)


def staged(conclusion: str) -> str:
    """A sound answer."""
    return render(dict(zip(STAGES, ("I will look.", "A number is there.", "It is that one.", conclusion), strict=True)))


def number_in(request: SampleRequest) -> str:
    """The question's number, from a request to the teacher or the judge."""
    found = re.search(r"has q(\d+)\?", request.turns[0].text)
    assert found is not None
    return found[1]


def is_judging(request: SampleRequest) -> bool:
    """Whether it is the judge who is asked."""
    return "Other answer:" in request.turns[0].text


def teacher(say: Callable[[SampleRequest], str | Completion] | None = None, *, yields: int = 0) -> ScriptedEngine:
    """Answers every question rightly, or what `say` says."""
    speak = say or (lambda request: staged(number_in(request)))
    return ScriptedEngine(lambda request, slot, seed: speak(request), yields=yields)
