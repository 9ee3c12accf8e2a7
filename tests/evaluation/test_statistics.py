"""Intervals and tests against published values, and their properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import InputError
from stepsight.evaluation.statistics import mcnemar, paired_difference, share_of, wilson

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    share = wilson(successes, n)
    assert share.low == pytest.approx(low, abs=5e-5)
    assert share.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_and_mirrors(counts: tuple[int, int]) -> None:
    share, mirror = wilson(*counts), wilson(counts[1] - counts[0], counts[1])
    assert share.low is not None
    assert share.high is not None
    assert share.value is not None
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert mirror.low == pytest.approx(1 - share.high)


def test_the_share_of_nothing_is_not_zero() -> None:
    assert wilson(0, 0).model_dump() == {"value": None, "low": None, "high": None, "n": 0}
    assert share_of([None, None]).value is None
    assert share_of([True, None, False]).model_dump(include={"value", "n"}) == {"value": 0.5, "n": 2}


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_counts_that_are_no_share_are_refused(successes: int, n: int) -> None:
    with pytest.raises(InputError):
        wilson(successes, n)


@pytest.mark.parametrize(("b", "c", "p"), [(0, 0, 1.0), (1, 7, 0.0703125), (5, 5, 1.0), (0, 6, 0.03125)])
def test_mcnemar_against_the_binomial_by_hand(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(p)


def test_mcnemar_of_a_large_run_does_not_overflow() -> None:
    assert 0 < mcnemar(4000, 4100) < 1


def test_paired_difference_against_a_published_table() -> None:
    # Bentur et al. 2009, as in Fagerland et al. 2014 (Statistics in Medicine 33:2850): 1 and 1, 7 and 12;
    # Newcombe's square-and-add interval is -0.507 to -0.026.
    first = [True] + [True] + [False] * 7 + [False] * 12
    second = [True] + [False] + [True] * 7 + [False] * 12
    difference = paired_difference(first, second)
    assert difference.value == pytest.approx(-6 / 21)
    assert difference.low == pytest.approx(-0.507, abs=5e-4)
    assert difference.high == pytest.approx(-0.026, abs=5e-4)
    assert (difference.only_first, difference.only_second) == (1, 7)
    assert difference.p == pytest.approx(0.0703125)


@given(PAIRS)
def test_swapping_the_runs_turns_the_difference_round(pairs: list[tuple[bool, bool]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.p == back.p
    if not pairs:
        assert there.value is None
        return
    assert there.value is not None
    assert there.low is not None
    assert there.high is not None
    assert there.value == pytest.approx(-back.value)  # type: ignore[operator]  # not None: n > 0
    assert there.low == pytest.approx(-back.high)  # type: ignore[operator]  # not None: n > 0
    assert -1 - 1e-9 <= there.low <= there.value <= there.high <= 1 + 1e-9


def test_runs_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="2 and 1"):
        paired_difference([True, False], [True])
