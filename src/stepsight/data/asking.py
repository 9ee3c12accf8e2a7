"""The far side of a lease: an engine, asked in calls that each bring one outcome.

A request that an engine wants to send again needs leave, and money, from the process that holds the ledger. So a call
does not wait for a reply alone: it ends as soon as there is one, or the question whether to send it again, and the next
call brings what follows.

    sample(7, request) -> Outcome(failed)      a sending came to nothing; the engine would send it again
    go_on(7, allowed)  -> Outcome(result)      it was allowed to, and there is a reply
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from stepsight.errors import StepsightError
from stepsight.protocols import Engine, SampleRequest, SampleResult


@dataclass(frozen=True)
class Failed:
    """A sending that came to nothing, as `Meter.failed` is told of it."""

    why: str
    billed: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a request since it was last heard of. Without result and error it waits for `go_on`."""

    failed: tuple[Failed, ...]
    result: SampleResult | None = None
    error: StepsightError | None = None


class Asker:
    """Asks an engine on behalf of another process; it lives in one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls: dict[int, tuple[_Relay, asyncio.Task[SampleResult]]] = {}

    async def sample(self, call: int, request: SampleRequest) -> Outcome:
        """Ask; `call` is a number that the caller has not used before."""
        relay = _Relay()
        task = asyncio.ensure_future(self._engine.sample(replace(request, meter=relay)))
        self._calls[call] = relay, task
        return await self._heard(call)

    async def go_on(self, call: int, allowed: bool) -> Outcome:
        """Say whether the request of that call may be sent again."""
        self._calls[call][0].allow(allowed)
        return await self._heard(call)

    async def _heard(self, call: int) -> Outcome:
        relay, task = self._calls[call]
        wanted = asyncio.ensure_future(relay.wanted.wait())
        try:
            await asyncio.wait((task, wanted), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            del self._calls[call]
            raise
        finally:
            wanted.cancel()
        if not task.done():
            return Outcome(relay.told())
        del self._calls[call]
        try:
            return Outcome(relay.told(), task.result())
        except StepsightError as error:
            return Outcome(relay.told(), error=error)


class _Relay:
    """The meter that the engine sees."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self._allowed: asyncio.Queue[bool] = asyncio.Queue()
        self._failed: list[Failed] = []

    async def failed(self, why: str, *, billed: bool) -> None:
        self._failed.append(Failed(why, billed))

    async def again(self) -> bool:
        self.wanted.set()
        return await self._allowed.get()

    def allow(self, allowed: bool) -> None:
        self.wanted.clear()
        self._allowed.put_nowait(allowed)

    def told(self) -> tuple[Failed, ...]:
        """What failed since this was last asked."""
        told, self._failed = tuple(self._failed), []
        return told
