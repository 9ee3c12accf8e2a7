"""What a search has spent, and what it may still spend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Literal, TypeVar

from stepsight.protocols import Budget
from stepsight.records import Spending

LEAST = 48
"""With fewer tokens than this for each candidate, fewer candidates are drawn instead: a stage cut short is no use."""

Ending = Literal["done", "agreed", "tokens", "seconds", "candidates"]
_T = TypeVar("_T")


class Spent(Exception):
    """A limit leaves no room for another candidate; `what` says which. A strategy never lets it out."""

    def __init__(self, what: Ending) -> None:
        super().__init__(what)
        self.what: Ending = what


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

    def allow(self, counts: Sequence[int], most: int, share: float = 1.0) -> tuple[list[int], int]:
        """How many of so many candidates for each line may be drawn, and how long each may be.

        Args:
            counts: wanted for each line; the last lines lose theirs first.
            most: the most tokens that a candidate may have.
            share: 0 to 1, of the tokens that are left; those of `counts` together stay below.

        Raises:
            Spent: not even one.
        """
        budget, wanted = self._budget, sum(counts)
        if budget.seconds is not None and self.seconds >= budget.seconds:
            raise Spent("seconds")
        if budget.candidates is not None:
            wanted = min(wanted, budget.candidates - self.candidates)
            if wanted < 1:
                raise Spent("candidates")
        if budget.tokens is not None:
            if self.tokens >= budget.tokens:
                raise Spent("tokens")
            left = max(1, int((budget.tokens - self.tokens) * share))
            wanted = max(1, min(wanted, left // min(most, LEAST)))
            most = min(most, left // wanted)
        allowed: list[int] = []
        for count in counts:
            allowed.append(min(count, wanted - sum(allowed)))
        return allowed, most

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
