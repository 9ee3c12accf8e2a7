"""What came of a study: each arm's accuracy and cost, and paired differences, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stepsight.evaluation.narrowing import DERIVED
from stepsight.evaluation.report import EvaluationReport, Row
from stepsight.evaluation.statistics import Span
from stepsight.records import Record
from stepsight.study.recipe import Claim

RESAMPLES = 2000

Rows = Mapping[str, Sequence[Row]]
"""Rows of one arm by question, one for each seed."""


class ArmResult(Record):
    """One arm over all questions and seeds.

    accuracy: mean over questions. tokens: generated and judge's, per question; `generated` the former alone. seconds:
    of searches that ran beside others, per question; None for an arm that was `derived` from the run named there.
    against: paired differences in accuracy, by what they are to. captions, reasonings: shares of the answers whose
    CAPTION is true, and whose REASONING follows from it, where that can be said.
    """

    name: str
    accuracy: Span
    tokens: float
    generated: float
    seconds: float | None
    against: dict[str, Span]
    derived: str = ""
    captions: Span | None = None
    reasonings: Span | None = None


class ClaimResult(Record):
    """Whether `above` is more accurate than `below`: the paired difference, and tokens a question of both."""

    above: str
    below: str
    difference: Span
    tokens_above: float
    tokens_below: float

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "nothing to tell it by"
        return "holds" if low > 0 else "the other way round" if high < 0 else "not told apart"


class StudyResult(Record):
    """All arms of a study, in the order of the recipe.

    questions: that every arm answered under every seed. left_out: the others, which are in no figure.
    """

    questions: int
    left_out: int = 0
    seeds: list[int]
    arms: list[ArmResult]
    claims: tuple[ClaimResult, ...] = ()


def results(
    runs: Mapping[str, Sequence[EvaluationReport]], *, seeds: Sequence[int], claims: Sequence[Claim] = ()
) -> StudyResult:
    """Pool the seeds of each arm, and hold the arms against greedy, against a vote that costs as much, and the oracle.

    Args:
        runs: reports by arm, one for each seed, over the same questions.
        seeds: those of the reports.
        claims: what is to be tested besides; their names are among the arms.
    """
    rows = {name: _by_question(reports) for name, reports in runs.items()}
    ids = sorted(set.intersection(*(set(one) for one in rows.values())))
    right = {name: np.array([_accuracy(one[id]) for id in ids]) for name, one in rows.items()}
    cost = {
        name: _mean(one, ids, lambda row: row.usage.kept + row.usage.discarded + row.usage.judge)
        for name, one in rows.items()
    }
    arms = []
    for name, one in rows.items():
        against = {
            other: _difference(right[name], right[other])
            for other in ("greedy", _as_dear_vote(name, cost), _oracle(name, rows))
            if other in rows and other != name
        }
        derived = _whence(runs[name])
        arms.append(
            ArmResult(
                name=name,
                accuracy=_bootstrap(right[name]),
                tokens=cost[name],
                generated=_mean(one, ids, lambda row: row.usage.kept + row.usage.discarded),
                seconds=None if derived else _mean(one, ids, lambda row: row.seconds),
                against=against,
                derived=derived,
                captions=_share([[row.caption_true for row in one[id]] for id in ids]),
                reasonings=_share([[row.reasoning_true for row in one[id]] for id in ids]),
            )
        )
    asked = {row.id for reports in runs.values() for report in reports for row in report.rows}
    asked.update(one for reports in runs.values() for report in reports for one in report.failed)
    tested = [
        ClaimResult(
            above=claim.above,
            below=claim.below,
            difference=_difference(right[claim.above], right[claim.below]),
            tokens_above=cost[claim.above],
            tokens_below=cost[claim.below],
        )
        for claim in claims
    ]
    return StudyResult(questions=len(ids), left_out=len(asked) - len(ids), seeds=list(seeds), arms=arms, claims=tested)


def _share(known: Sequence[Sequence[bool | None]]) -> Span | None:
    """Of what is known of each question under each seed; None where nothing is."""
    means = [sum(told) / len(told) for one in known if (told := [value for value in one if value is not None])]
    return _bootstrap(np.array(means)) if means else None


def _whence(reports: Sequence[EvaluationReport]) -> str:
    """The run that an arm was derived from; empty if it was run itself."""
    for report in reports:
        if whence := report.settings.get(DERIVED):
            return "-".join(str(whence[key]) for key in ("strategy", "width", "judge") if whence[key] is not None)
    return ""


def _by_question(reports: Sequence[EvaluationReport]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for report in reports:
        for row in report.rows:
            if row.correct is not None:
                rows.setdefault(row.id, []).append(row)
    # A question that failed under one seed is left out under all, so that means are of like things.
    return {id: one for id, one in rows.items() if len(one) == len(reports)}


def _accuracy(rows: Sequence[Row]) -> float:
    return sum(bool(row.correct) for row in rows) / len(rows)


def _mean(rows: Rows, ids: Sequence[str], of: Callable[[Row], float]) -> float:
    values = [of(row) for id in ids for row in rows[id]]
    return sum(values) / len(values) if values else 0.0


def _as_dear_vote(name: str, cost: Mapping[str, float]) -> str | None:
    """The vote that costs most like this arm."""
    votes = [other for other in cost if other.startswith("vote-")]
    return min(votes, key=lambda other: abs(cost[other] - cost[name]), default=None)


def _oracle(name: str, rows: Mapping[str, object]) -> str | None:
    """The same search with the judge that knows."""
    for judge in ("self", "likelihood", "written", "reward"):
        other = name.replace(f"-{judge}", "-oracle")
        if other != name and other in rows:
            return other
    return None


def _difference(first: np.ndarray, second: np.ndarray) -> Span:
    return _bootstrap(first - second)


def _bootstrap(values: np.ndarray) -> Span:
    """The mean with a percentile interval; questions are resampled, all seeds of one together."""
    n = len(values)
    if not n:
        return Span(value=None, low=None, high=None, n=0)
    rng = np.random.default_rng(0)
    drawn = [float(values[rng.integers(0, n, n)].mean()) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Span(value=float(values.mean()), low=float(low), high=float(high), n=n)
