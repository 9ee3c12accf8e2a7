"""Stored predictions scored without the questions that a training set has seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stepsight.errors import InputError
from stepsight.evaluation.contamination.report import WITHOUT, Contamination, Parted, ScoreWithout
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.readings import By, Reading
from stepsight.evaluation.suites.rules import Line
from stepsight.evaluation.suites.scores import Result, Scores, overall
from stepsight.evaluation.suites.suite import Suite


def with_scores(report: Contamination, suite: Suite, scores: Scores) -> Contamination:
    """The report with scores of stored predictions, without the questions of each kind.

    Texts keep the readings that they have among all of them; only what is summed up differs.

    Raises:
        InputError: the scores are of another benchmark, or of another part of it.
    """
    indices = [line.index for line in suite.lines]
    if scores.dataset != suite.name or [reading.index for reading in scores.whole.readings] != indices:
        raise InputError(
            f"these scores are not of the {len(indices)} questions of {suite.name}",
            hint="give predictions of the same file",
        )
    found = []
    for without in WITHOUT:
        alike_ones = report.of(without)
        groups = {suite.benchmark.rules.together(line) for line in suite.lines if line.index in alike_ones}
        out = {line.index for line in suite.lines if suite.benchmark.rules.together(line) in groups}
        parts = [
            part
            for result in filter(None, (scores.whole, scores.conclusion))
            for part in _parted(suite, result, out, exact_too=not scores.judged)
        ]
        found.append(ScoreWithout(without=without, questions=len(alike_ones), left_out=len(out), scores=tuple(parts)))
    return report.model_copy(update={"scores": tuple(found)})


def _parted(suite: Suite, result: Result, out: set[str], *, exact_too: bool) -> Iterator[Parted]:
    def measure(kept: Iterable[bool], exact: bool) -> Measure:
        pairs = [
            (line, reading)
            for line, reading, keep in zip(suite.lines, result.readings, kept, strict=True)
            # As in `scores`: a row without a prediction is in no exact score.
            if keep and not (exact and reading.by is By.MISSING)
        ]
        lines: list[Line] = [line for line, _ in pairs]
        readings: list[Reading] = [reading for _, reading in pairs]
        return overall(suite.benchmark.rules.groups(lines, readings, exact=exact))

    left_out = [line.index in out for line in suite.lines]
    for exact in (False, True) if exact_too and suite.benchmark.rules.exact else (False,):
        yield Parted(
            which=result.which,
            exact=exact,
            all=measure([True] * len(left_out), exact),
            kept=measure([not one for one in left_out], exact),
            left_out=measure(left_out, exact),
        )
