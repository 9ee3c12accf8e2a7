"""How long to wait before asking again: what the server says, else an exponential back-off with full jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random


@dataclass(frozen=True)
class Backoff:
    """A bounded number of attempts.

    attempts: how often a request is sent in all. base, cap: the wait before attempt k + 1 is drawn evenly from 0 to
    min(cap, base * 2**(k - 1)) seconds; drawing from 0 ("full jitter") keeps many clients from coming back together.
    patience: a server that wants a longer wait than this, in seconds, is given up at once.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    patience: float = 120.0

    def wait(self, failures: int, told: float | None, rng: Random) -> float | None:
        """Seconds to wait after so many failures in a row; None: give up.

        `told` is what the server asked for. It is kept, and up to one `base` added, for the same reason as jitter.
        """
        if failures >= self.attempts:
            return None
        if told is not None:
            return None if told > self.patience else told + rng.uniform(0.0, self.base)
        return rng.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 60)))


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or an HTTP date; None if it says nothing readable.

    A date that has passed means 0. A fraction of a second is no standard, and is sent all the same.
    """
    text = (value or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, IndexError, OverflowError):
            return None
        if date.tzinfo is None:  # "-0000" says that the zone is unknown; HTTP dates are in UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - now).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
