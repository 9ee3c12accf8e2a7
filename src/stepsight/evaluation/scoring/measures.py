"""Scores with their 95 % intervals, and how many of their units could not be scored.

A share of units that are independent has Wilson's interval. Anything else (grades between 0 and 1; units of which
several belong together, such as the questions about one picture) has that of a bootstrap which draws whole clusters,
2,000 times, with a fixed seed, so that a report is the same each time it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stepsight.intervals import wilson_bounds
from stepsight.records import Record

RESAMPLES = 2000
_SEED = 0


class Measure(Record):
    """The mean of `n` units, from 0 to 1, with its 95 % interval; None where there is no unit to take it of.

    `unscored` units could not be scored and are in neither the mean nor `n`. An interval is `joined` where it is of a
    mean of scores with intervals of their own (`bench.subsets`).
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int
    method: Literal["wilson", "bootstrap", "joined"]


@dataclass(frozen=True)
class Unit:
    """What is counted once: a question, or a group of questions. `value` is None where it could not be scored.

    Units with the same `cluster` belong together; one without stands alone.
    """

    value: float | None
    cluster: str = ""


def share(units: Sequence[Unit]) -> Measure:
    """The share of units that are right, for independent units with values 0 and 1."""
    told = [unit.value for unit in units if unit.value is not None]
    right, n = sum(value > 0 for value in told), len(told)
    if not n:
        return Measure(value=None, low=None, high=None, n=0, unscored=len(units), method="wilson")
    low, high = wilson_bounds(right, n)
    return Measure(value=right / n, low=low, high=high, n=n, unscored=len(units) - n, method="wilson")


def mean(units: Sequence[Unit]) -> Measure:
    """The mean over units, whole clusters resampled."""
    return mean_of_means([units])


def mean_of_means(parts: Sequence[Sequence[Unit]]) -> Measure:
    """The mean of the means of several lists of units, whose clusters are drawn together.

    Where one of the lists has no unit that could be scored, there is no mean of their means. Where every unit is 0, or
    every unit 1, a bootstrap would show no doubt at all; the interval is then Wilson's, of as many cases as there are
    clusters. With a single cluster nothing can be said: the interval is all of 0 to 1.
    """
    units = [unit for part in parts for unit in part]
    unscored = sum(unit.value is None for unit in units)
    n = len(units) - unscored
    sums, counts = _by_cluster(parts)
    if not len(sums) or not counts.sum(axis=0).all():
        return Measure(value=None, low=None, high=None, n=0, unscored=len(units), method="bootstrap")
    value = float((sums.sum(axis=0) / counts.sum(axis=0)).mean())
    if len(sums) == 1:
        low, high = 0.0, 1.0
    elif value in (0.0, 1.0):
        low, high = wilson_bounds(int(value) * len(sums), len(sums))
    else:
        low, high = _bootstrap(sums, counts)
    return Measure(value=value, low=low, high=high, n=n, unscored=unscored, method="bootstrap")


def _by_cluster(parts: Sequence[Sequence[Unit]]) -> tuple[np.ndarray, np.ndarray]:
    """Sums of values and counts of scored units, by cluster and part."""
    places: dict[str | tuple[int, int], int] = {}
    found: list[tuple[int, int, float]] = []
    for column, part in enumerate(parts):
        for number, unit in enumerate(part):
            if unit.value is not None:
                place = places.setdefault(unit.cluster or (column, number), len(places))
                found.append((place, column, unit.value))
    sums, counts = np.zeros((len(places), len(parts))), np.zeros((len(places), len(parts)))
    for place, column, value in found:
        sums[place, column] += value
        counts[place, column] += 1
    return sums, counts


def _bootstrap(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    clusters = len(sums)
    drawn = np.random.default_rng(_SEED).multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    totals = drawn @ counts
    sound = totals.all(axis=1)  # a draw may miss every unit of a small part
    means = ((drawn @ sums)[sound] / totals[sound]).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
