"""What travels between the tasks that ask and the thread that works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stepsight.protocols import Completion, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult

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


@dataclass(eq=False)
class SampleJob:
    """One sample request and what has come of it."""

    request: SampleRequest
    on_text: OnText | None
    reply: Reply[SampleResult]
    done: dict[int, Completion] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether working on it is of no use any more."""
        return self.reply.dropped or self.reply.settled


@dataclass(eq=False)
class ScoreJob:
    """Score requests that arrived together; `options` are their options in tokens, once encoded."""

    requests: Sequence[ScoreRequest]
    reply: Reply[list[ScoreResult]]
    options: list[list[tuple[int, ...]]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether working on it is of no use any more."""
        return self.reply.dropped or self.reply.settled


Job = SampleJob | ScoreJob
