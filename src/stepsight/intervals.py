"""How sure a share is: Wilson's score interval (1927), which stays inside 0 and 1 for any number of cases."""

from __future__ import annotations

import math

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_bounds(successes: int, n: int) -> tuple[float, float]:
    """The bounds of the 95 % interval of `successes` of `n`, which is at least 1."""
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # At the ends the bound equals the share; rounding must not push it past.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high
