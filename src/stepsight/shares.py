"""A share of cases, with how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

from stepsight.errors import InputError
from stepsight.intervals import wilson_bounds
from stepsight.records import Record


class Share(Record):
    """A share of n cases with its 95 % interval; all None when n is 0, for the share of nothing is not zero."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def wilson(successes: int, n: int) -> Share:
    """The share `successes / n` with Wilson's score interval (1927), which stays inside 0 and 1 for any n.

    Raises:
        InputError: the counts make no sense.
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} of {n} is not a share", hint="give 0 <= successes <= n")
    if n == 0:
        return Share(value=None, low=None, high=None, n=0)
    low, high = wilson_bounds(successes, n)
    return Share(value=successes / n, low=low, high=high, n=n)


def share_of(outcomes: Sequence[bool | None]) -> Share:
    """The share of True among those that could be told (None is left out of n)."""
    told = [outcome for outcome in outcomes if outcome is not None]
    return wilson(sum(told), len(told))
