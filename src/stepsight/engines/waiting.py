"""A task waits here for what a thread, or another process, makes for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Reply(Generic[Result]):
    """A one-time answer to a waiting task; set from any thread. `dropped` tells that nobody waits any more."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Result] = self._loop.create_future()
        self.dropped = False
        self.settled = False

    async def wait(self) -> Result:
        """The answer; a cancelled wait drops the job."""
        try:
            return await self._future
        finally:
            self.dropped = True

    def answer(self, result: Result) -> None:
        """Give the result."""
        self._settle(lambda: self._future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Give an error."""
        self._settle(lambda: self._future.set_exception(error))

    def _settle(self, act: Callable[[], None]) -> None:
        def settle() -> None:
            if not self._future.done():
                act()

        self.settled = True
        # A loop that is closed has nobody waiting in it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)
