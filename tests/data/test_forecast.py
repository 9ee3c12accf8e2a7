"""A pilot's numbers, their intervals, and which questions it asks."""

from __future__ import annotations

import random

import pytest
from tests.data.lessons import lesson

from stepsight.data.forecast import choose_pilot, forecast, wilson
from stepsight.data.prices import PICO
from stepsight.errors import InputError
from stepsight.evaluation.statistics import wilson as reported

LESSONS = [lesson(number) for number in range(100)]


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 7), (50, 1000)])
def test_shares_are_those_of_reports(successes: int, n: int) -> None:
    mine, other = wilson(successes, n), reported(successes, n)
    assert (mine.value, mine.low, mine.high) == (other.value, other.low, other.high)


def test_a_pilot_is_drawn_from_all_in_order_and_the_same_again() -> None:
    drawn, total = choose_pilot(iter(LESSONS), 10, seed=1)
    places = [one.place for one in drawn]
    assert (total, len(set(places))) == (100, 10)
    assert places == sorted(places)
    assert max(places) > 50
    assert places == [one.place for one in choose_pilot(iter(LESSONS), 10, seed=1)[0]]
    assert places != [one.place for one in choose_pilot(iter(LESSONS), 10, seed=2)[0]]
    assert choose_pilot(iter(LESSONS[:3]), 10)[1] == 3


def test_equal_questions_make_a_certain_forecast() -> None:
    told = forecast([(True, 2 * PICO, 36.0)] * 50, 1000, at_once=10.0)
    assert (told.dollars.low, told.dollars.value, told.dollars.high) == pytest.approx((2000, 2000, 2000))
    assert (told.hours.low, told.hours.value, told.hours.high) == pytest.approx((1, 1, 1))
    assert told.keep.value == 1
    assert told.keep.low < told.keep.high
    assert told.rows.value == 1000


def test_intervals_hold_what_they_promise() -> None:
    rng, held = random.Random(3), 0
    for trial in range(100):
        costs = [(rng.random() < 0.8, int(rng.expovariate(1.0) * PICO), 1.0) for _ in range(80)]
        told = forecast(costs, 1000, at_once=1.0, seed=trial, resamples=200)
        held += told.dollars.low <= 1000 <= told.dollars.high
    assert 86 <= held <= 99


def test_a_pilot_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no question"):
        forecast([], 10, at_once=1.0)
