"""One search for one client: it runs while the client is there, and ends at once when it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from stepsight.assembly import SearchChoice
from stepsight.protocols import (
    Capabilities,
    Engine,
    Event,
    Judge,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Question, Trace
from stepsight.search import strategy
from stepsight.serving.chat_replies import Spent

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class GoneError(Exception):
    """The client closed its connection."""


@dataclass
class Counted:
    """An engine as one search sees it; remembers how long the prompt was when it was first read."""

    engine: Engine
    spent: Spent = field(default_factory=Spent)

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def capabilities(self) -> Capabilities:
        """The engine's."""
        return self.engine.capabilities

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Sample; see `Engine`."""
        result = await self.engine.sample(request, on_text)
        if not request.prefix and not self.spent.prompt and result.prompt:
            self.spent = Spent(result.prompt, min(result.prompt, result.cached))
        return result

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score; see `Engine`."""
        return await self.engine.score(requests)


@dataclass
class Searching:
    """A search that can be started once."""

    question: Question
    engine: Counted
    judge: Judge | None
    plan: SearchChoice
    seconds: float

    async def run(self, watch: Callable[[Event], None] | None = None) -> Trace:
        """Search.

        Raises:
            TimeoutError: it takes longer than it may.
            StepsightError: as strategies raise.
        """
        settings = replace(self.plan.settings, watch=watch)
        async with asyncio.timeout(self.seconds):
            return await strategy(self.plan.search)(self.question, self.engine, self.judge, settings)

    async def events(self, kinds: frozenset[str], every: float) -> AsyncGenerator[Event | Trace | None, None]:
        """Search, and tell events of these kinds as they happen; the trace comes last. None: nothing for a while.

        Leaving the loop before its end cancels the search.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[Event | None] = asyncio.Queue()

        def watch(event: Event) -> None:
            # Texts come from the thread of the engine, and far more of them than anybody asked for.
            if event.kind in kinds:
                loop.call_soon_threadsafe(told.put_nowait, event)

        async def work() -> Trace:
            try:
                return await self.run(watch)
            finally:
                loop.call_soon_threadsafe(told.put_nowait, None)

        task = asyncio.create_task(work())
        try:
            while True:
                try:
                    event = await asyncio.wait_for(told.get(), every)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    break
                yield event
            yield await task
        finally:
            task.cancel()
            with suppress(BaseException):
                await task


async def while_connected(work: Awaitable[Any], receive: Receive) -> Any:
    """The result of `work`, which is cancelled as soon as the client of an ASGI connection goes away.

    The request's body must have been read to its end.

    Raises:
        GoneError: the client went away.
    """
    doing = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise GoneError
        return doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()
        # The search must have let go of the engine when this returns.
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
