"""Files of one's own in VLMEvalKit's form, such as `stepsight draw --format tsv-mcq` writes.

columns A and B               multiple choice; in circles where VLMEvalKit would, by the name
every answer Yes or No        yes or no (VLMEvalKit has no such class for files of one's own)
anything else                 short answers, by our own rule (VLMEvalKit does not score such files)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.conclusions import is_correct
from stepsight.evaluation.scoring.circular import is_circular
from stepsight.evaluation.scoring.measures import Unit, mean, share
from stepsight.evaluation.scoring.readings import Ask, By, Reading
from stepsight.evaluation.scoring.tables import Group, Labelled, table
from stepsight.evaluation.suites.choice import Choice
from stepsight.evaluation.suites.mmvet import graded
from stepsight.evaluation.suites.rules import (
    Asked,
    Benchmark,
    Line,
    Response,
    Settings,
    asked_as_it_stands,
    free_ask,
    value_of,
)
from stepsight.evaluation.suites.yes_no import YesNoQuestions
from stepsight.prompts.benchmarks import BenchmarkPrompts
from stepsight.records import Question

_KINDS = ("category", "l2-category")
_SHOWN = 200
"""So many characters of an answer are kept with its reading."""


@dataclass(frozen=True)
class ShortAnswers:
    """The rules of `conclusions.is_correct`: the text must be the answer, apart from case, punctuation and the like.

    With a judge, what is not is graded as MM-Vet's answers are.
    """

    dataset: str

    @property
    def kind(self) -> str:
        return "short answers"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("question", "answer")

    @property
    def exact(self) -> bool:
        return False

    def check(self, line: Line) -> None:
        """Every row will do."""

    def answered(self, line: Line) -> bool:
        return line.cells.get("answer") is not None

    def together(self, line: Line) -> str:
        return line.index

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked:
        return asked_as_it_stands(line)

    def read(self, line: Line, response: Response, settings: Settings) -> Reading:
        known = Question(id=line.index, text=line.text("question"), answer=line.text("answer"))
        # Our own rule looks at the text itself: no table stands between it and the model.
        right = bool(is_correct(known, response.text))
        said = response.text.strip()[:_SHOWN]
        return Reading(index=line.index, hit=float(right), given=said, by=By.PLAIN, asks=not right)

    def ask(self, line: Line, response: Response) -> Ask:
        return free_ask("grade", self.dataset, line, response)

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        return graded(self.dataset, line, verdict)

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        judged = any(reading.by in (By.JUDGE, By.JUDGE_FAILED) for reading in readings)
        return table(
            [
                Labelled(Unit(value_of(reading, exact=exact)), {kind: line.names(kind) for kind in _KINDS})
                for line, reading in zip(lines, readings, strict=True)
            ],
            _KINDS,
            measure=mean if judged else share,
        )


def own_benchmark(name: str, columns: Sequence[str], answers: Sequence[str]) -> Benchmark:
    """What a file of one's own is taken for, by its columns and the texts of its answers."""
    if {"A", "B"} <= set(columns):
        return Benchmark(name, Choice(name, circular=is_circular(name)))
    if answers and set(answers) <= {"Yes", "No"}:
        return Benchmark(name, YesNoQuestions(name))
    return Benchmark(name, ShortAnswers(name))
