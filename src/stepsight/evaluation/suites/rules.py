"""What a benchmark is to this package: a file, and rules that ask, read and sum up.

    line -> asked    what the model is asked about a row, word for word
    response -> reading    what an answer says, and whether it is right, without any judge
    response -> ask, verdict -> reading    the same where only a judge can tell
    readings -> groups    scores by skill, with intervals

One class of rules may serve several benchmarks; one file of this folder holds one benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, Protocol

from stepsight.evaluation.scoring.cells import Cell, said
from stepsight.evaluation.scoring.generations import NEWEST, Generation
from stepsight.evaluation.scoring.readings import Ask, Reading
from stepsight.evaluation.scoring.tables import Group
from stepsight.prompts.benchmarks import BenchmarkPrompts


@dataclass(frozen=True)
class Line:
    """A row of a benchmark file as pandas has it; `row` counts from 1, the head not counted.

    Names of columns are in small letters, but for single capitals, which are the options.
    """

    row: int
    index: str
    cells: Mapping[str, Cell]

    def text(self, name: str) -> str:
        """The cell as `str()` gives it: `nan` where it is not a number, or there is no such column."""
        return said(self.cells.get(name))

    def names(self, column: str) -> tuple[str, ...]:
        """The label of this row in a column of labels; none where the cell is not a number."""
        return () if self.cells.get(column) is None else (self.text(column),)

    @property
    def options(self) -> dict[str, str]:
        """The texts of the options that are there, by letter."""
        return {letter: self.text(letter) for letter in ascii_uppercase if self.cells.get(letter) is not None}


@dataclass(frozen=True)
class Asked:
    """What a model is asked about a row: `wording` goes to the model, the rest describes the question."""

    text: str
    wording: str
    choices: tuple[str, ...] = ()
    answer: str | None = None


def asked_as_it_stands(line: Line) -> Asked:
    """The column `question` itself, for benchmarks whose questions are asked without more words."""
    question = line.text("question")
    return Asked(question, question, answer=None if line.cells.get("answer") is None else line.text("answer"))


@dataclass(frozen=True)
class Response:
    """One answer: as it was given, and as a table of predictions has it after reading."""

    text: str
    cell: Cell

    @property
    def said(self) -> str:
        """The text that rules look at: what `str()` makes of the cell."""
        return said(self.cell)


TEMPERATURES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Of VLMEvalKit's tries to have a free answer read or graded."""


def free_ask(kind: Literal["yes-no", "value", "grade"], dataset: str, line: Line, response: Response) -> Ask:
    """What a judge is asked about an answer that chooses no option. Only a grader is shown the row's own answer."""
    return Ask(
        kind=kind,
        dataset=dataset,
        index=line.index,
        question=line.text("question"),
        prediction=response.said,
        answer=line.text("answer") if kind == "grade" else "",
        temperatures=TEMPERATURES,
    )


@dataclass(frozen=True)
class Settings:
    """What moves a score without touching an answer: see `generations`, and `verbose` in `options.match_option`."""

    generation: Generation = NEWEST
    verbose: bool = False


class Rules(Protocol):
    """The rules of one benchmark, or of several that are alike."""

    @property
    def kind(self) -> str:
        """What sort of question it asks, for people."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that asking and reading need, `index` and pictures apart."""
        ...

    @property
    def exact(self) -> bool:
        """Whether there is a score without a judge that compares with VLMEvalKit's: what cannot be read is wrong."""
        ...

    def check(self, line: Line) -> None:
        """Make sure that a row is of the benchmark's form.

        Raises:
            InputError: it is not.
        """
        ...

    def answered(self, line: Line) -> bool:
        """Whether the row's answer is known."""
        ...

    def together(self, line: Line) -> str:
        """Rows with the same name are scored together, so a part of the benchmark must hold all of them or none."""
        ...

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked: ...

    def read(self, line: Line, response: Response, settings: Settings) -> Reading: ...

    def ask(self, line: Line, response: Response) -> Ask: ...

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        """The reading of a text on which a judge has given its verdict (`readings.read_reply`)."""
        ...

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        """The scores of all and by group; with `exact`, what could not be read is wrong."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """One data set: its name, which is never left out of a table, its rules, and its published file.

    `pictures` is the folder below `images/` where VLMEvalKit keeps its pictures, where that is not the data set's name.
    """

    name: str
    rules: Rules
    md5: str = ""
    url: str = ""
    rows: int | None = None
    pictures: str = ""


def value_of(reading: Reading, *, exact: bool) -> float | None:
    """The value that a reading has in a score."""
    return 0.0 if exact and reading.hit is None else reading.hit
