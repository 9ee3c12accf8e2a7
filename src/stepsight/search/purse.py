"""What a search has spent, and what it may still spend."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Literal, TypeVar

from stepsight.protocols import Budget
from stepsight.records import Spending
from stepsight.stages import Stage

AHEAD: Mapping[Stage | None, float] = {
    Stage.SUMMARY: 12.0,
    Stage.CAPTION: 2.5,
    Stage.REASONING: 0.25,
    Stage.CONCLUSION: 0.0,
    None: 0.0,
}
"""How much of an answer is still to come behind a stage, as a multiple of what is written by then. A guess, from pico's
answers; longer summaries leave less to come, so that it errs on the safe side."""

_LONGER = 1.25
"""So much longer than the first of its kind a candidate is expected to become, where tokens are short."""

Ending = Literal["done", "agreed", "tokens", "seconds", "candidates"]
_T = TypeVar("_T")


class Spent(Exception):
    """A limit leaves no room for another candidate; `what` says which. A strategy never lets it out."""

    def __init__(self, what: Ending) -> None:
        super().__init__(what)
        self.what: Ending = what


def cut(counts: Sequence[int], most: int) -> list[int]:
    """The counts, the last of them made smaller where together they are more than `most`."""
    allowed: list[int] = []
    for count in counts:
        allowed.append(min(count, most - sum(allowed)))
    return allowed


class Purse:
    """Counts generated tokens, candidates and seconds against a budget, from now on."""

    def __init__(self, budget: Budget) -> None:
        self.tokens = 0
        self.candidates = 0
        self.ended_by: Ending = "done"
        self._budget = budget
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return time.perf_counter() - self._started

    def check(self) -> None:
        """Make sure that one more candidate may be begun.

        Raises:
            Spent: it may not.
        """
        budget = self._budget
        if budget.seconds is not None and self.seconds >= budget.seconds:
            raise Spent("seconds")
        if budget.candidates is not None and self.candidates >= budget.candidates:
            raise Spent("candidates")
        if budget.tokens is not None and self.tokens >= budget.tokens:
            raise Spent("tokens")

    def allow(self, counts: Sequence[int]) -> list[int]:
        """How many of so many candidates for each line the limit of candidates allows; the last lines lose first."""
        if self._budget.candidates is None:
            return list(counts)
        return cut(counts, self._budget.candidates - self.candidates)

    def first(self, most: int) -> int | None:
        """How long the first candidate of a kind may become, from which the length of the others is guessed.

        None where there is no limit of tokens, so that all may be drawn at once.
        """
        return None if self._budget.tokens is None else min(most, self._budget.tokens - self.tokens)

    def others(self, wanted: int, most: int, length: int, written: int, ahead: float) -> tuple[int, int]:
        """How many more candidates may be drawn, and how long each may become, so that an answer can still be finished.

        Args:
            wanted: how many there should be.
            most: the most tokens that a candidate may have.
            length: tokens of the first of them.
            written: tokens of the line that they continue.
            ahead: what is still to come behind them, as a multiple of line and candidate.
        """
        assert self._budget.tokens is not None
        room = self._budget.tokens - self.tokens - math.ceil(ahead * (written + length))
        count = max(0, min(wanted, room // max(1, math.ceil(_LONGER * length))))
        return count, min(most, room // count) if count else 0

    def pay(self, tokens: int) -> None:
        """Enter one candidate."""
        self.tokens += tokens
        self.candidates += 1

    async def before_time_is_up(self, work: Awaitable[_T]) -> _T:
        """Wait for `work`; it is cancelled when there is no time left.

        Raises:
            Spent: there was not enough time.
        """
        if self._budget.seconds is None:
            return await work
        try:
            return await asyncio.wait_for(work, max(0.0, self._budget.seconds - self.seconds))
        except TimeoutError:
            raise Spent("seconds") from None

    def account(self) -> Spending:
        """What was allowed, what ended the search, and what is left."""
        budget, seconds = self._budget, self.seconds
        left: dict[str, float] = {}
        if budget.tokens is not None:
            left["tokens"] = budget.tokens - self.tokens
        if budget.seconds is not None:
            left["seconds"] = round(max(0.0, budget.seconds - seconds), 3)
        if budget.candidates is not None:
            left["candidates"] = budget.candidates - self.candidates
        return Spending(
            tokens=budget.tokens,
            seconds=budget.seconds,
            candidates=budget.candidates,
            ended_by=self.ended_by,
            left=left,
        )
