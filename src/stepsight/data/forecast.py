"""What a whole run will cost and keep, from a pilot of some of its questions.

Intervals are 95 %: Wilson's for shares, a percentile bootstrap over questions for sums. They say how far another pilot
of this size might have come out elsewhere; that the server will be as fast, and the rest of the questions like these,
they do not say.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from stepsight.data.lessons import Lesson
from stepsight.data.prices import PICO
from stepsight.errors import InputError
from stepsight.intervals import wilson_bounds
from stepsight.records import Record

RESAMPLES = 1000


class Range(Record):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class Forecast(Record):
    """For `total` questions, from a pilot of `pilot`: share kept, rows kept, dollars, hours."""

    total: int
    pilot: int
    keep: Range
    rows: Range
    dollars: Range
    hours: Range


def choose_pilot(lessons: Iterable[Lesson], count: int, seed: int = 0) -> tuple[list[Lesson], int]:
    """`count` lessons drawn evenly from all, in their order, and how many there are; only these stay in memory."""
    rng = random.Random(f"pilot {seed}")
    drawn: list[Lesson] = []
    total = 0
    for total, lesson in enumerate(lessons, start=1):
        if len(drawn) < count:
            drawn.append(lesson)
        elif (place := rng.randrange(total)) < count:
            drawn[place] = lesson
    return sorted(drawn, key=lambda lesson: lesson.place), total


def forecast(
    costs: Sequence[tuple[bool, int, float]], total: int, *, at_once: float, seed: int = 0, resamples: int = RESAMPLES
) -> Forecast:
    """What `total` questions will bring.

    Args:
        costs: of each question of the pilot: whether it was kept, its price in picodollars, its seconds of waiting.
        total: all questions, those of the pilot among them.
        at_once: how many of these waits ran side by side, on the average.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        InputError: the pilot has no settled question.
    """
    n = len(costs)
    if not n:
        raise InputError("the pilot settled no question", hint="see what the teacher says with `stepsight data build`")
    keep = wilson(sum(kept for kept, _, _ in costs), n)
    rng = random.Random(f"forecast {seed}")
    prices = [price / PICO for _, price, _ in costs]
    hours = [seconds / 3600 / max(1.0, at_once) for _, _, seconds in costs]
    return Forecast(
        total=total,
        pilot=n,
        keep=keep,
        rows=Range(value=keep.value * total, low=keep.low * total, high=keep.high * total),
        dollars=_summed(prices, total, rng, resamples),
        hours=_summed(hours, total, rng, resamples),
    )


def wilson(successes: int, n: int) -> Range:
    """A share with its 95 % interval."""
    low, high = wilson_bounds(successes, n)
    return Range(value=successes / n, low=low, high=high)


def _summed(values: Sequence[float], total: int, rng: random.Random, resamples: int) -> Range:
    n = len(values)
    means = sorted(math.fsum(rng.choices(values, k=n)) / n for _ in range(resamples))
    low, high = means[math.floor(0.025 * (resamples - 1))], means[math.ceil(0.975 * (resamples - 1))]
    return Range(value=math.fsum(values) / n * total, low=low * total, high=high * total)
