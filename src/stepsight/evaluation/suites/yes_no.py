"""Questions for yes or no: each on its own, or with HallusionBench's three accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.evaluation.scoring.hallusion import Answered, accuracies, set_of
from stepsight.evaluation.scoring.measures import Unit
from stepsight.evaluation.scoring.readings import Ask, By, Reading
from stepsight.evaluation.scoring.tables import Group, Labelled, table
from stepsight.evaluation.scoring.yes_no import read_yes_no
from stepsight.evaluation.suites.rules import Asked, Line, Response, Settings, asked_as_it_stands, free_ask, value_of
from stepsight.prompts.benchmarks import BenchmarkPrompts

_KINDS = ("category", "l2-category")


@dataclass(frozen=True)
class YesNoQuestions:
    """The rules; `grouped` adds HallusionBench's accuracies of figures and questions, by its indices."""

    dataset: str
    grouped: bool = False

    @property
    def kind(self) -> str:
        return "yes or no"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("question", "answer", *_KINDS) if self.grouped else ("question", "answer")

    @property
    def exact(self) -> bool:
        return True

    def check(self, line: Line) -> None:
        if self.grouped:
            set_of(line.index, "")

    def answered(self, line: Line) -> bool:
        return line.cells.get("answer") is not None

    def together(self, line: Line) -> str:
        return set_of(line.index, line.text("l2-category")) if self.grouped else line.index

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked:
        return asked_as_it_stands(line)

    def read(self, line: Line, response: Response, settings: Settings) -> Reading:
        said = read_yes_no(response.said, generation=settings.generation)
        if said == "Unknown":
            return Reading(index=line.index, hit=None, given=said, by=By.UNREAD, asks=True)
        return Reading(index=line.index, hit=float(said == line.text("answer")), given=said, by=By.YES_NO)

    def ask(self, line: Line, response: Response) -> Ask:
        return free_ask("yes-no", self.dataset, line, response)

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        if verdict not in ("Yes", "No", "Unknown"):
            raise ValueError(f"a judge said {verdict!r} of {self.dataset} {line.index}, not Yes, No or Unknown")
        hit = float(verdict == line.text("answer"))
        return Reading(index=line.index, hit=hit, given=verdict, by=By.JUDGE, asks=True)

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        values = [value_of(reading, exact=exact) for reading in readings]
        if self.grouped:
            return accuracies(
                [
                    Answered(line.index, line.text("category"), line.text("l2-category"), value)
                    for line, value in zip(lines, values, strict=True)
                ]
            )
        return table(
            [
                Labelled(Unit(value), {kind: line.names(kind) for kind in _KINDS})
                for line, value in zip(lines, values, strict=True)
            ],
            _KINDS,
        )
