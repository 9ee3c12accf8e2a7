"""Multiple choice: questions with lettered options, each on its own or in circles (`scoring.circular`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from stepsight.errors import InputError
from stepsight.evaluation.scoring.circular import TURN, all_right, circles
from stepsight.evaluation.scoring.measures import Unit
from stepsight.evaluation.scoring.options import NONE_OF_THEM, match_option
from stepsight.evaluation.scoring.readings import Ask, By, Reading
from stepsight.evaluation.scoring.tables import NO_SPLIT, Group, Labelled, table
from stepsight.evaluation.suites.rules import Asked, Line, Response, Settings, value_of
from stepsight.prompts.benchmarks import BenchmarkPrompts

TRIES = 3
"""So often VLMEvalKit asks a judge for an option, every time at temperature 0; then it takes a random one."""


@dataclass(frozen=True)
class Choice:
    """The rules. `kinds` are the columns of labels that scores are given by; `diagram`: asked as AI2D is."""

    dataset: str
    circular: bool = False
    diagram: bool = False
    kinds: tuple[str, ...] = ("l2-category", "category")

    @property
    def kind(self) -> str:
        return "circular multiple choice" if self.circular else "multiple choice"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("question", "A", "B")

    @property
    def exact(self) -> bool:
        return True

    def check(self, line: Line) -> None:
        for name, said in (("index", line.index), *(("g_index", text) for text in line.names("g_index"))):
            # A column of numbers with a gap has them as 4.0.
            if self.circular and not said.removesuffix(".0").isdecimal():
                raise InputError(
                    f"the {name} {said!r} is no whole number", hint=f"{self.dataset} is scored in circles, by number"
                )

    def answered(self, line: Line) -> bool:
        return line.cells.get("answer") is not None

    def together(self, line: Line) -> str:
        if not self.circular:
            return line.index
        base = _g_index(line)
        return str(int(line.index) % TURN if base is None else base)

    def asked(self, line: Line, prompts: BenchmarkPrompts) -> Asked:
        question, options = line.text("question"), line.options
        hint = next(iter(line.names("hint")), None)
        write = prompts.diagram_choice if self.diagram else prompts.choice
        # Where a letter is left out, choices numbered from A would be other ones than those that are shown.
        gapless = "".join(options) == ascii_uppercase[: len(options)]
        return Asked(
            text=question,
            wording=write(question, options, hint),
            choices=tuple(options.values()) if gapless else (),
            answer=line.text("answer") if self.answered(line) else None,
        )

    def read(self, line: Line, response: Response, settings: Settings) -> Reading:
        match = match_option(response.said, line.options, generation=settings.generation, verbose=settings.verbose)
        if match.letter is None:
            return Reading(index=line.index, hit=None, given="", by=By.UNREAD, asks=True)
        return self._reading(line, match.letter, By(match.how))

    def ask(self, line: Line, response: Response) -> Ask:
        return Ask(
            kind="option",
            dataset=self.dataset,
            index=line.index,
            question=line.text("question"),
            prediction=response.said,
            options=line.options,
            temperatures=(0.0,) * TRIES,
        )

    def settle(self, line: Line, verdict: str, settings: Settings) -> Reading:
        if verdict not in (*line.options, NONE_OF_THEM):
            raise ValueError(f"a judge chose {verdict!r} for {self.dataset} {line.index}, which has no such option")
        return self._reading(line, verdict, By.JUDGE).model_copy(update={"asks": True})

    def groups(self, lines: Sequence[Line], readings: Sequence[Reading], *, exact: bool) -> tuple[Group, ...]:
        values = [value_of(reading, exact=exact) for reading in readings]
        if not self.circular:
            rows = [self._labelled(line, value) for line, value in zip(lines, values, strict=True)]
            return table(rows, self.kinds)
        found = circles([int(line.index) for line in lines], [_g_index(line) for line in lines])
        base_of = {int(line.index): line for line in lines}
        return table(
            [
                self._labelled(base_of[base], all_right([values[place] for place in places]))
                for base, places in found.items()
            ],
            self.kinds,
        )

    def _reading(self, line: Line, letter: str, by: By) -> Reading:
        return Reading(index=line.index, hit=float(letter == line.text("answer")), given=letter, by=by)

    def _labelled(self, line: Line, value: float | None) -> Labelled:
        split = next(iter(line.names("split")), NO_SPLIT)
        return Labelled(Unit(value), {kind: line.names(kind) for kind in self.kinds}, split)


def _g_index(line: Line) -> int | None:
    base = line.cells.get("g_index")
    return None if base is None else int(float(base))
