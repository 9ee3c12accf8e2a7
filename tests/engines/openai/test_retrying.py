"""Waits are bounded, jittered, and never shorter than what the server asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.engines.openai.retrying import Backoff, retry_after

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@given(seconds=st.integers(0, 10**6))
def test_seconds_are_read(seconds: int) -> None:
    assert retry_after(f" {seconds} ", NOW) == seconds


@given(ahead=st.integers(-(10**6), 10**6))
def test_an_http_date_is_read_and_the_past_is_now(ahead: int) -> None:
    date = NOW + timedelta(seconds=ahead)
    assert retry_after(format_datetime(date, usegmt=True), NOW) == max(0, ahead)


@given(text=st.text() | st.sampled_from(["-1", "nan", "inf", "1e999", "Fri, 99 Foo 2026", "24 Nov"]))
def test_any_other_text_asks_for_nothing_or_for_a_sane_wait(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or 0 <= wait < float("inf")


def test_nothing_asks_for_nothing() -> None:
    assert retry_after(None, NOW) is None
    assert retry_after("-1", NOW) is None
    assert retry_after("Tue, 24 Nov 2026 12:00:30 -0000", NOW) == 30


@given(failures=st.integers(1, 200), seed=st.integers(), attempts=st.integers(1, 100))
def test_the_jittered_wait_stays_below_the_doubling_bound(failures: int, seed: int, attempts: int) -> None:
    backoff = Backoff(attempts=attempts, base=0.5, cap=30.0)
    wait = backoff.wait(failures, None, Random(seed))
    if failures >= attempts:
        assert wait is None
    else:
        assert wait is not None
        assert 0 <= wait <= min(30.0, 0.5 * 2 ** (failures - 1))


@given(told=st.floats(0, 120), seed=st.integers())
def test_what_the_server_asks_for_is_kept(told: float, seed: int) -> None:
    wait = Backoff().wait(1, told, Random(seed))
    assert wait is not None
    assert told <= wait <= told + 0.5


def test_the_jitter_is_full_and_a_server_that_wants_too_long_is_given_up() -> None:
    waits = {round(Backoff().wait(3, None, Random(seed)) or 0.0) for seed in range(200)}
    assert waits == {0, 1, 2}
    assert Backoff(patience=60).wait(1, 61.0, Random(0)) is None
    with pytest.raises(AttributeError):
        Backoff().attempts = 7  # type: ignore[misc]
