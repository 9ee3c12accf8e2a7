"""Lengths of stages: how they are spread, and which are far from all others.

Lengths are words. How far one is from the others is a robust z of log(1 + words): 0.6745 (x - median) / MAD, where MAD
is the median distance from the median, or, if that is 0, 0.7979 (x - median) / mean distance (Iglewicz and Hoaglin, How
to Detect and Handle Outliers, 1993). So a few huge ones do not widen what counts as usual. Equal lengths are never
far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from stepsight.records import Record

BINS = 24


def words_in(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def robust_z(lengths: Sequence[int]) -> list[float]:
    """How far each length is from the others, below 0 for the short."""
    if not lengths:
        return []
    logs = [math.log1p(length) for length in lengths]
    middle = median(logs)
    away = [abs(one - middle) for one in logs]
    scale = median(away) / 0.6745 or fmean(away) / 0.7979
    return [(one - middle) / scale if scale else 0.0 for one in logs]


class Spread(Record):
    """How lengths are spread: quantiles, and counts in bins of equal width from `least` to `most`."""

    count: int
    least: int
    low: int
    middle: float
    high: int
    most: int
    bins: tuple[int, ...]


def spread_of(lengths: Sequence[int]) -> Spread | None:
    """The spread of lengths, low and high being the 5th and 95th per cent; None of none.

    Bins end at twice the 99th per cent, the last one holding all that is longer, so that one huge text does not
    flatten the picture of the others.
    """
    if not lengths:
        return None
    ordered = sorted(lengths)

    def at(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    least = ordered[0]
    width = max(1, min(ordered[-1], 2 * at(0.99)) - least + 1)
    count = min(BINS, width)
    bins = [0] * count
    for length in ordered:
        bins[min(count - 1, (length - least) * count // width)] += 1
    return Spread(
        count=len(ordered),
        least=least,
        low=at(0.05),
        middle=float(median(ordered)),
        high=at(0.95),
        most=ordered[-1],
        bins=tuple(bins),
    )
