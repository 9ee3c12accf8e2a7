"""Workers for the tests of leasing: askers of an engine in this process, which can be lost at any moment."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable

from stepsight.data.asking import Asker, Outcome
from stepsight.data.leasing import LeasingEngine, WorkerLostError
from stepsight.protocols import Engine, SampleRequest


class NearWorker:
    """Everything passes through pickle, as it does on its way to another machine; calls die with the worker."""

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self.calls = 0
        self.ended = False
        self._asker = Asker(engine)
        self._dead = asyncio.Event()

    async def sample(self, call: int, request: SampleRequest) -> Outcome:
        self.calls += 1
        if self._dead.is_set():
            raise WorkerLostError(f"{self.where} is dead")
        return await self._unless_dead(self._asker.sample(call, pickle.loads(pickle.dumps(request))))

    async def go_on(self, call: int, allowed: bool) -> Outcome:
        return await self._unless_dead(self._asker.go_on(call, allowed))

    async def gone(self) -> None:
        await self._dead.wait()

    def end(self) -> None:
        self.ended = True

    def die(self) -> None:
        self._dead.set()

    async def _unless_dead(self, call: Awaitable[Outcome]) -> Outcome:
        reply, death = asyncio.ensure_future(call), asyncio.ensure_future(self._dead.wait())
        try:
            await asyncio.wait((reply, death), return_when=asyncio.FIRST_COMPLETED)
            if not self._dead.is_set():
                outcome: Outcome = pickle.loads(pickle.dumps(reply.result()))
                return outcome
        finally:
            reply.cancel()
            death.cancel()
        raise WorkerLostError(f"{self.where} died")


class Pool:
    """Starts near workers of an engine and remembers them. `fails(place, count)` may raise at a start."""

    def __init__(self, engine: Engine, fails: Callable[[int, int], None] | None = None) -> None:
        self.engine = engine
        self.started: list[NearWorker] = []
        self._fails = fails

    async def start(self, place: int) -> NearWorker:
        await asyncio.sleep(0)
        if self._fails is not None:
            self._fails(place, len(self.started))
        self.started.append(NearWorker(self.engine, f"node{place}"))
        return self.started[-1]

    def leased(self, places: int, patience: float = 5.0) -> LeasingEngine:
        return LeasingEngine(self.engine.name, self.engine.capabilities, self.start, places, patience=patience)
