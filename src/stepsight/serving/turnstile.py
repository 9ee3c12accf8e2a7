"""How many searches run at once, how many wait for one to end, and who is sent away."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stepsight.serving.refusals import busy

_LONGEST_WAIT = 60


class Turnstile:
    """Lets so many pass at a time, in the order in which they came; so many may wait.

    Attributes:
        running: how many are inside; waiting: how many stand before it.
    """

    def __init__(self, places: int, queue: int, patience: float) -> None:
        """Take how many may be inside, how many may wait, and for how many seconds."""
        self.running = 0
        self.waiting = 0
        self._places = places
        self._queue = queue
        self._patience = patience
        self._gate = asyncio.Semaphore(places)
        self._usual = 1.0

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Be inside while the block runs.

        Raises:
            Refused: the queue is full, or the wait was too long; says when to try again.
        """
        if self._gate.locked() and self.waiting >= self._queue:
            raise busy(self._retry_after())
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._gate.acquire()
        except TimeoutError:
            raise busy(self._retry_after()) from None
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._gate.release()
            self._usual += 0.1 * (time.monotonic() - started - self._usual)

    def _retry_after(self) -> int:
        """Seconds until there should be room, from how long searches took of late."""
        return min(_LONGEST_WAIT, max(1, math.ceil(self._usual * (self.waiting + 1) / self._places)))
