"""MathVista, the thousand questions of its part `testmini`: choices, whole numbers, numbers with decimals, two lists.

The column `question` holds the original `query`, hint and choices included, and is asked as it stands. Its letters may
follow another order than the column `choices`, which scoring goes by; neither is ever derived from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.evaluation.scoring.mathvista import Sought, check, choices_of, skills_of
from stepsight.evaluation.scoring.measures import Unit
from stepsight.evaluation.scoring.readings import Ask, By, Reading
from stepsight.evaluation.scoring.tables import Group, Labelled, table
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
from stepsight.prompts.benchmarks import BenchmarkPrompts

_KINDS = ("skill", "task")

DIRECT = "direct"
"""The share of questions that VLMEvalKit would not put to a judge; it calls them prefetched."""


@dataclass(frozen=True)
class MathVistaRules:
    """The rules. Without a judge, the final check is held against the text itself, as if a judge had returned it."""

    dataset: str

    @property
    def kind(self) -> str:
        return "mathematics"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("question", "answer", "question_type", "answer_type", "choices", "answer_option", "task", "skills")

    @property
    def exact(self) -> bool:
        return True

    def check(self, line: Line) -> None:
        _sought(line)

    def answered(self, line: Line) -> bool:
        return line.cells.get("answer") is not None

    def together(self, line: Line) -> str:
        return line.index

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked:
        return asked_as_it_stands(line)

    def read(self, line: Line, response: Response, settings: Settings) -> Reading:
        sought = _sought(line)
        if sought.question_type != "multi_choice" and sought.answer_type not in ("integer", "float"):
            return Reading(index=line.index, hit=0.0, given="", by=By.NEVER)
        checked = check(sought, response.cell, generation=settings.generation, verbose=settings.verbose)
        if checked.value is None:
            return Reading(index=line.index, hit=None, given="", by=By.UNREAD, asks=True)
        hit = float(checked.right)
        return Reading(index=line.index, hit=hit, given=checked.value, by=By.VALUE, asks=not checked.direct)

    def ask(self, line: Line, response: Response) -> Ask:
        return free_ask("value", self.dataset, line, response)

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        checked = check(_sought(line), verdict, generation=settings.generation, verbose=settings.verbose)
        return Reading(index=line.index, hit=float(checked.right), given=verdict, by=By.JUDGE, asks=True)

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        hits, direct = [], []
        for line, reading in zip(lines, readings, strict=True):
            labels = {"skill": skills_of(line.text("skills")), "task": (line.text("task"),)}
            hits.append(Labelled(Unit(value_of(reading, exact=exact)), labels))
            if reading.by not in (By.MISSING, By.NO_CONCLUSION):
                direct.append(Labelled(Unit(float(not reading.asks and reading.by is By.VALUE)), labels))
        return (*table(hits, _KINDS), *table(direct, _KINDS, metric=DIRECT))


def _sought(line: Line) -> Sought:
    multiple = line.text("question_type") == "multi_choice"
    return Sought(
        question_type=line.text("question_type"),
        answer_type=line.text("answer_type"),
        answer=line.cells.get("answer"),
        option=line.text("answer_option") if multiple else "",
        choices=choices_of(line.text("choices")) if multiple else None,
    )


MATHVISTA_MINI = Benchmark(
    name="MathVista_MINI",
    rules=MathVistaRules("MathVista_MINI"),
    md5="f199b98e178e5a2a20e7048f5dcb0464",
    url="https://opencompass.openxlab.space/utils/VLMEval/MathVista_MINI.tsv",
    rows=1000,
)
