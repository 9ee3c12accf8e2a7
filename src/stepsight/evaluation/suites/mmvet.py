"""MM-Vet: 218 questions with free answers, which only a judge can grade.

VLMEvalKit keeps capabilities and combinations under one roof, so that a question which needs a single capability, such
as `rec` alone, counts twice for it, and the combination of that name is the capability itself. Published scores by
capability have it so, and it is kept; the score of all questions is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.evaluation.scoring.measures import Unit, mean
from stepsight.evaluation.scoring.mmvet import CAPABILITIES, capabilities_of, combination_of, read_grade
from stepsight.evaluation.scoring.readings import Ask, By, Reading
from stepsight.evaluation.scoring.tables import Group, Labelled, table
from stepsight.evaluation.suites.rules import Asked, Benchmark, Line, Response, Settings, free_ask, value_of
from stepsight.prompts.benchmarks import BenchmarkPrompts

_KINDS = ("capability", "combination")


@dataclass(frozen=True)
class MMVetRules:
    """The rules: every answer goes to a judge, and scores are means of its grades."""

    dataset: str

    @property
    def kind(self) -> str:
        return "free answers"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("question", "answer", "category")

    @property
    def exact(self) -> bool:
        return False

    def check(self, line: Line) -> None:
        """Every row will do."""

    def answered(self, line: Line) -> bool:
        return True

    def together(self, line: Line) -> str:
        return line.index

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked:
        question = line.text("question")
        return Asked(question, question, answer=line.text("answer"))

    def read(self, line: Line, response: Response, settings: Settings) -> Reading:
        return Reading(index=line.index, hit=None, given="", by=By.UNGRADED, asks=True)

    def ask(self, line: Line, response: Response) -> Ask:
        return free_ask("grade", self.dataset, line, response)

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        return graded(self.dataset, line, verdict)

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        rows, twice = [], []
        for line, reading in zip(lines, readings, strict=True):
            category = line.text("category")
            unit = Unit(value_of(reading, exact=exact), cluster=line.index)
            combination = combination_of(category)
            rows.append(Labelled(unit, {"capability": capabilities_of(category), "combination": (combination,)}))
            if combination in CAPABILITIES:
                twice.append(Labelled(unit, {"capability": (combination,)}))
        whole = table(rows, _KINDS, measure=mean)
        counted = [group for group in table([*rows, *twice], _KINDS[:1], measure=mean) if group.kind == "capability"]
        by_name = {group.name: group.measure for group in counted}
        alone = {row.labels["capability"][0] for row in twice}
        return (
            *(group for group in whole if group.kind == "overall"),
            *counted,
            *(
                group.model_copy(update={"measure": by_name[group.name]}) if group.name in alone else group
                for group in whole
                if group.kind == "combination"
            ),
        )


def graded(dataset: str, line: Line, verdict: str) -> Reading:
    """The reading of an answer that has its grade."""
    grade = read_grade(verdict)
    if grade is None:
        raise ValueError(f"a judge gave {dataset} {line.index} the grade {verdict!r}, not one from 0 to 1")
    return Reading(index=line.index, hit=grade, given=verdict, by=By.JUDGE, asks=True)


MMVET = Benchmark(
    name="MMVet",
    rules=MMVetRules("MMVet"),
    md5="748aa6d4aa9d4de798306a63718455e3",
    url="https://opencompass.openxlab.space/utils/VLMEval/MMVet.tsv",
    rows=218,
)
