"""How sure a share and a difference between two runs are.

Intervals are 95 % and need no sampling, so a report is the same each time it is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stepsight.errors import InputError
from stepsight.intervals import wilson_bounds
from stepsight.records import Record
from stepsight.shares import Share as Share
from stepsight.shares import share_of as share_of
from stepsight.shares import wilson as wilson


class Span(Record):
    """A number with its 95 % interval, and of how many cases it comes; all None where it cannot be told."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class PairedDifference(Record):
    """How much more often the first of two runs is right, on the same n questions.

    `value` is first minus second, with its 95 % interval. `only_first` and `only_second` count the questions that one
    run alone got right; `p` is McNemar's exact two-sided p-value, which looks at these only.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    only_first: int
    only_second: int
    p: float


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Compare two runs question by question.

    The interval is Newcombe's (1998, method 10): Wilson intervals of both shares, joined with the correlation between
    the runs. The p-value is McNemar's exact test.

    Raises:
        InputError: the runs differ in length.
    """
    if len(first) != len(second):
        raise InputError(
            f"the runs hold {len(first)} and {len(second)} outcomes", hint="compare runs over the same questions"
        )
    n = len(first)
    both = sum(one and other for one, other in zip(first, second, strict=True))
    only_first, only_second = sum(first) - both, sum(second) - both
    p = mcnemar(only_first, only_second)
    if n == 0:
        return PairedDifference(value=None, low=None, high=None, n=0, only_first=0, only_second=0, p=p)
    share, other = (both + only_first) / n, (both + only_second) / n
    low, high = wilson_bounds(both + only_first, n)
    other_low, other_high = wilson_bounds(both + only_second, n)
    phi = _correlation(both, only_first, only_second, n - both - only_first - only_second)
    down = _joined(share - low, other_high - other, phi)
    up = _joined(high - share, other - other_low, phi)
    return PairedDifference(
        value=share - other,
        low=share - other - down,
        high=share - other + up,
        n=n,
        only_first=only_first,
        only_second=only_second,
        p=p,
    )


def paired_mean(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Span:
    """The mean difference, first minus second, of two runs' values for the same units, with n units.

    The interval is a percentile bootstrap that resamples whole clusters, since units of one go together. With a single
    cluster nothing can be said: the interval is all of -1 to 1.

    Raises:
        InputError: the runs differ in length.
    """
    if not len(first) == len(second) == len(clusters):
        raise InputError(
            f"the runs hold {len(first)} and {len(second)} values", hint="compare runs over the same questions"
        )
    if not first:
        return Span(value=None, low=None, high=None, n=0)
    places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    sums, counts = np.zeros(len(places)), np.zeros(len(places))
    for one, other, name in zip(first, second, clusters, strict=True):
        sums[places[name]] += one - other
        counts[places[name]] += 1
    value = float(sums.sum() / counts.sum())
    if len(places) == 1:
        return Span(value=value, low=-1.0, high=1.0, n=len(first))
    drawn = np.random.default_rng(seed).multinomial(len(places), np.full(len(places), 1 / len(places)), size=resamples)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return Span(value=value, low=float(low), high=float(high), n=len(first))


def auroc(groups: Sequence[Sequence[tuple[float, bool]]], *, resamples: int = 1000, seed: int = 0) -> Span:
    """How likely a true case is scored above a false one (ties count half), over all groups.

    The interval is a percentile bootstrap that resamples whole groups, since scores of one question go together.

    Args:
        groups: scores and truths, by question. Scores of minus infinity are below all others; NaN is left out.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    sound = [[(score, true) for score, true in group if not math.isnan(score)] for group in groups]
    sound = [group for group in sound if group]
    n = sum(map(len, sound))
    value = _auroc(np.array([case for group in sound for case in group], dtype=np.float64).reshape(-1, 2))
    if value is None:
        return Span(value=None, low=None, high=None, n=n)
    arrays = [np.array(group, dtype=np.float64) for group in sound]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        found = _auroc(np.concatenate([arrays[place] for place in rng.integers(0, len(arrays), len(arrays))]))
        if found is not None:
            drawn.append(found)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Span(value=value, low=float(low), high=float(high), n=n)


def _auroc(cases: np.ndarray) -> float | None:
    """Mann-Whitney's statistic by ranks; None where all cases are true, or all false."""
    scores, truths = cases[:, 0], cases[:, 1] > 0
    ups, downs = int(truths.sum()), int((~truths).sum())
    if not ups or not downs:
        return None
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[truths].sum() - ups * (ups + 1) / 2) / (ups * downs))


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value that `only_first` and `only_second` come from a fair coin; 1 if both are 0."""
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << n))


def _joined(one: float, other: float, phi: float) -> float:
    """The distance from a difference to its bound, from the distances of the two shares to theirs."""
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's phi, with his continuity correction where it is positive; 0 if a margin is empty."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - only_first * only_second)
    if product > 0:
        product = max(0.0, product - (both + only_first + only_second + neither) / 2)
    return product / math.sqrt(margins)
