"""Which lengths are far from all others."""

from __future__ import annotations

import pytest

from stepsight.data.lengths import robust_z, spread_of


def test_a_far_one_stands_out_and_does_not_hide_another() -> None:
    usual = [20, 22, 25, 30, 28, 24, 26, 23, 27, 21] * 10
    z = robust_z([*usual, 4000, 5000, 1])
    assert min(z[-3:-1]) > 6
    assert z[-1] < -6
    assert max(abs(one) for one in z[:-3]) < 2


def test_equal_lengths_are_never_far() -> None:
    assert robust_z([5] * 10) == [0.0] * 10
    assert robust_z([5] * 99 + [500])[-1] > 6, "one that is not equal is"
    assert robust_z([]) == []


def test_a_spread_holds_all_of_them() -> None:
    spread = spread_of([*range(1, 101), 10_000])
    assert spread is not None
    assert (spread.count, spread.least, spread.most) == (101, 1, 10_000)
    assert spread.middle == pytest.approx(51)
    assert (spread.low, spread.high) == (6, 96)
    assert sum(spread.bins) == 101
    assert len(spread.bins) == 24
    assert spread.bins[-1] == 1
    assert spread_of([]) is None
    one = spread_of([3, 3])
    assert one is not None
    assert one.bins == (2,)


def test_many_far_ones_do_not_widen_what_is_usual() -> None:
    usual = [20, 22, 25, 30, 28, 24, 26, 23, 27, 21] * 10
    assert min(robust_z([*usual, *[5000] * 30])[-30:]) > 6
