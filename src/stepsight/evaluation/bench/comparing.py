"""Two results of one benchmark held against each other: settings, the paired difference, questions that changed sides.

What is paired is what is scored once: a question, or a circle. HallusionBench's questions are paired one by one (its
aAcc), and whole sets are resampled; grades are paired as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue

from stepsight.errors import InputError
from stepsight.evaluation.bench.results import BenchCard, BenchResult
from stepsight.evaluation.scoring.circular import all_right
from stepsight.evaluation.scoring.readings import By
from stepsight.evaluation.statistics import PairedDifference, Span, paired_difference, paired_mean
from stepsight.evaluation.suites.predictions import Which
from stepsight.evaluation.suites.rules import value_of
from stepsight.evaluation.suites.scores import Result
from stepsight.records import Record


class Setting(Record):
    """A setting that differs: its name on the card, and both values."""

    name: str
    first: JsonValue
    second: JsonValue


class Side(Record):
    """A question whose score changed: what each run's answer was read as, and what it got."""

    index: str
    first: float
    second: float
    first_given: str
    second_given: str


class TextDifference(Record):
    """The difference of one text: `paired` for shares of independent units, `mean` for anything else.

    left_out: units that one of the two could not be scored on. sides: the questions that changed.
    """

    which: Which
    unit: Literal["questions", "circles"]
    paired: PairedDifference | None
    mean: Span | None
    left_out: int
    sides: tuple[Side, ...]

    @property
    def span(self) -> PairedDifference | Span:
        """The difference, whichever it is."""
        found = self.paired or self.mean
        assert found is not None
        return found


class Comparison(Record):
    """All that differs between two results of a benchmark."""

    dataset: str
    settings: tuple[Setting, ...]
    texts: tuple[TextDifference, ...]


def compare_results(first: BenchResult, second: BenchResult) -> Comparison:
    """Hold `first` against `second`; differences are first minus second.

    Where neither had a grader, what could not be read counts as wrong, as in `Result.exact`; else it is left out, as it
    is where one of the two has no answer at all that could be read.

    Raises:
        InputError: they are of different benchmarks, or share no scored question.
    """
    if first.dataset != second.dataset:
        raise InputError(
            f"one result is of {first.dataset}, the other of {second.dataset}", hint="compare runs of one benchmark"
        )
    exact = first.card.grader is None and second.card.grader is None
    texts = []
    whiches: tuple[Which, ...] = ("whole", "conclusion")
    for which in whiches:
        one, other = _text(first, which), _text(second, which)
        if one is not None and other is not None:
            found = _compared(first, one, other, exact=exact and one.exact is not None and other.exact is not None)
            if found is not None:
                texts.append(found)
    if not texts:
        raise InputError(
            f"the two results of {first.dataset} share no question that both are scored on",
            hint="compare runs over the same questions",
        )
    return Comparison(dataset=first.dataset, settings=differing(first.card, second.card), texts=tuple(texts))


def differing(first: BenchCard, second: BenchCard) -> tuple[Setting, ...]:
    """The settings in which two cards differ; where files lie is none."""
    one, other = settings_on(first), settings_on(second)
    names = {**one, **other}
    return tuple(
        Setting(name=name, first=one.get(name), second=other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    )


def settings_on(card: BenchCard) -> dict[str, JsonValue]:
    """The settings on a card by name, such as `search.width`; where the benchmark file lies is none."""
    return {name: value for name, value in _flat(card.model_dump(mode="json")).items() if name != "data.path"}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _text(result: BenchResult, which: Which) -> Result | None:
    if result.scores is None:
        return None
    return result.scores.whole if which == "whole" else result.scores.conclusion


def _compared(result: BenchResult, one: Result, other: Result, *, exact: bool) -> TextDifference | None:
    others = {reading.index: reading for reading in other.readings}
    pairs = [
        (reading, others[reading.index])
        for reading in one.readings
        if reading.index in others and By.MISSING not in (reading.by, others[reading.index].by)
    ]
    # Of texts of which not one could be read nothing is known, not even that they are wrong.
    exact = exact and all(any(pair[side].hit is not None for pair in pairs) for side in (0, 1))
    values = {
        reading.index: (value_of(reading, exact=exact), value_of(another, exact=exact)) for reading, another in pairs
    }
    circular = result.kind == "circular multiple choice"
    units: dict[str, tuple[float | None, float | None]] = dict(values)
    if circular:
        turns: dict[str, list[str]] = {}
        for index in values:
            turns.setdefault(result.together[index], []).append(index)
        units = {
            name: (all_right([values[index][0] for index in of]), all_right([values[index][1] for index in of]))
            for name, of in turns.items()
        }
    told = {name: (a, b) for name, (a, b) in units.items() if a is not None and b is not None}
    if not told:
        return None
    first, second = [a for a, _ in told.values()], [b for _, b in told.values()]
    clusters = list(told) if circular else [result.together.get(name, name) for name in told]
    shares = {*first, *second} <= {0.0, 1.0} and len(set(clusters)) == len(clusters)
    return TextDifference(
        which=one.which,
        unit="circles" if circular else "questions",
        paired=paired_difference([a > 0 for a in first], [b > 0 for b in second]) if shares else None,
        mean=None if shares else paired_mean(first, second, clusters),
        left_out=len(units) - len(told),
        sides=tuple(
            Side(index=reading.index, first=a, second=b, first_given=reading.given, second_given=another.given)
            for reading, another in pairs
            for a, b in [values[reading.index]]
            if a is not None and b is not None and a != b
        ),
    )
