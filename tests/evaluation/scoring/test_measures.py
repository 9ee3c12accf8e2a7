"""Intervals of scores: Wilson's, and those of a bootstrap that draws whole clusters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.evaluation.scoring.measures import Measure, Unit, mean, mean_of_means, share
from stepsight.intervals import wilson_bounds


def units(*values: float | None, cluster: str = "") -> list[Unit]:
    return [Unit(value, cluster) for value in values]


def test_a_share_has_wilson_s_interval_and_leaves_out_what_is_unscored() -> None:
    measure = share(units(1.0, 1.0, 0.0, None))
    low, high = wilson_bounds(2, 3)
    assert measure == Measure(value=2 / 3, low=low, high=high, n=3, unscored=1, method="wilson")
    nothing = share(units(None, None))
    assert nothing == Measure(value=None, low=None, high=None, n=0, unscored=2, method="wilson")


def test_independent_grades_have_about_the_interval_of_their_standard_error() -> None:
    values = [0.0, 0.5, 1.0, 0.5] * 25
    measure = mean(units(*values))
    error = (0.125 / 100) ** 0.5
    assert measure.value == 0.5
    assert measure.low == pytest.approx(0.5 - 1.96 * error, abs=0.01)
    assert measure.high == pytest.approx(0.5 + 1.96 * error, abs=0.01)
    assert mean(units(*values)) == measure  # the same each time


def test_units_of_a_cluster_are_drawn_together() -> None:
    alone = mean(units(*[0.0, 1.0] * 50))
    together = mean([unit for cluster in range(10) for unit in units(*[cluster % 2] * 10, cluster=str(cluster))])
    assert alone.value == together.value == 0.5
    assert width(together) > 2.5 * width(alone)


def test_where_all_fare_alike_the_interval_is_that_of_as_many_clusters() -> None:
    rights = [unit for cluster in range(5) for unit in units(1.0, 1.0, 1.0, cluster=str(cluster))]
    measure = mean(rights)
    assert (measure.low, measure.high, measure.n) == (*wilson_bounds(5, 5), 15)
    wrongs = mean([Unit(0.0, unit.cluster) for unit in rights])
    assert (wrongs.low, wrongs.high) == wilson_bounds(0, 5)


def test_a_single_cluster_says_nothing() -> None:
    measure = mean(units(1.0, 0.0, 1.0, cluster="x"))
    assert (measure.value, measure.low, measure.high) == (2 / 3, 0.0, 1.0)


def test_a_mean_of_means_needs_every_one_of_them() -> None:
    measure = mean_of_means([units(1.0, 0.0), units(1.0, 1.0, 0.0, 0.0)])
    assert measure.value == 0.5
    lacking = mean_of_means([units(1.0, 0.0), units(None)])
    assert (lacking.value, lacking.n, lacking.unscored) == (None, 0, 3)


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=12
    )
)
@settings(max_examples=60)
def test_an_interval_holds_its_value(drawn: list[tuple[float | None, str]]) -> None:
    measure = mean([Unit(value, cluster) for value, cluster in drawn])
    told = [value for value, _ in drawn if value is not None]
    assert measure.n == len(told)
    if not told:
        assert measure.value is None
        return
    assert measure.value == pytest.approx(sum(told) / len(told))
    assert measure.low is not None
    assert measure.high is not None
    assert -1e-9 <= measure.low <= measure.high <= 1 + 1e-9


def width(measure: Measure) -> float:
    assert measure.low is not None
    assert measure.high is not None
    return measure.high - measure.low
