"""How many requests may be under way at once: found by trying, as TCP finds its window.

A server says how much it can take only by refusing. So the number grows by one for each full window of successes and
is halved when the server is overloaded (429, 503, a time-out): additive increase, multiplicative decrease.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Window:
    """The arithmetic alone: no clock, no tasks.

    limit: how many may be under way now, from `least` to `most`; its fraction is growth saved up. A refusal counts
    once: those of requests that started before the last cut tell nothing new.
    """

    limit: float = 8.0
    least: int = 1
    most: int = 64
    busy: int = 0
    cuts: int = 0

    @property
    def room(self) -> bool:
        """Whether one more may start."""
        return self.busy < int(self.limit)

    def start(self) -> None:
        """One more is under way."""
        self.busy += 1

    def finish(self) -> None:
        """One less is under way."""
        self.busy -= 1

    def succeeded(self) -> None:
        """A request was answered. Only a window at least half in use grows; an idle one has proved nothing."""
        if 2 * self.busy >= int(self.limit):
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)

    def overloaded(self, ticket: int) -> None:
        """A request was refused or timed out; `ticket` is what `cuts` was when it was sent."""
        if ticket == self.cuts:
            self.cuts += 1
            self.limit = max(float(self.least), self.limit / 2.0)


@dataclass
class Gate:
    """Lets tasks through as the window allows, in the order in which they came; all wait while the server wants it."""

    window: Window
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _closed_until: float = 0.0

    def pause(self, seconds: float) -> None:
        """Nobody starts for so long: the server said `Retry-After`."""
        self._closed_until = max(self._closed_until, self.clock() + seconds)

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[int]:
        """Be under way for the length of the block; gives the ticket for `Window.overloaded`."""
        await self._turn()
        try:
            while (left := self._closed_until - self.clock()) > 0:
                await self.sleep(left)
            yield self.window.cuts
        finally:
            self.window.finish()
            self._admit()

    async def _turn(self) -> None:
        if self.window.room and not self._waiting:
            self.window.start()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            # Admitted and cancelled at the same moment: the place goes to the next.
            if place.done() and not place.cancelled():
                self.window.finish()
                self._admit()
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
            raise

    def _admit(self) -> None:
        while self._waiting and self.window.room:
            place = self._waiting.popleft()
            if not place.done():
                self.window.start()
                place.set_result(None)
