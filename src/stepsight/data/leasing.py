"""Requests leased to workers that may be lost, so that a build spreads over machines and its ledger stays in one place.

    build -> RecordingEngine: reserve, note, commit -> LeasingEngine: the least busy worker -> an engine elsewhere

Workers only ask. What is decided, paid and kept is so in the process that holds the ledger, by the code of a build on
one machine; to it this is an engine like any other. A lost worker takes its requests with it. They are not sent again
from here, for the server may have answered them: each ends with `WorkerLostError`, the ledger counts it as perhaps
billed, and only then `building` asks anew. It knows nothing of Ray; see `cluster.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from stepsight.data.asking import Outcome
from stepsight.errors import EngineError, InputError, PictureError
from stepsight.pictures import load_picture
from stepsight.protocols import Capabilities, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult

PATIENCE = 300.0
"""Seconds that requests wait while there is no worker at all."""
LOSSES = 5
"""So many losses for each place, and not one reply between them, are no accident."""


class WorkerLostError(EngineError):
    """A worker is gone, and with it what it was asked; a server may have answered that all the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Worker(Protocol):
    """An `asking.Asker` somewhere; both its calls raise `WorkerLostError` once it is gone. `where` is for errors."""

    @property
    def where(self) -> str: ...

    async def sample(self, call: int, request: SampleRequest) -> Outcome: ...

    async def go_on(self, call: int, allowed: bool) -> Outcome: ...

    async def gone(self) -> None:
        """Return once it is gone, asked or not."""
        ...

    def end(self) -> None:
        """Let it go, with all that it is doing."""
        ...


Start = Callable[[int], Awaitable[Worker]]
"""Starts the worker of a place, counted from 0, and returns it once it can be asked. Raises `WorkerLostError` if it was
lost on the way; any other error means that a worker there could never work, and ends the run."""


@dataclass(eq=False)
class _Lease:
    worker: Worker
    busy: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class LeasingEngine:
    """An engine made of workers; it works while its `async with` block runs.

    A place whose worker was lost gets another. Capabilities and name are those of the workers' engines, so a run begun
    without workers goes on with them, and the other way round.

    Attributes:
        losses: how many workers were lost.
    """

    def __init__(
        self, name: str, capabilities: Capabilities, start: Start, places: int, *, patience: float = PATIENCE
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self.losses = 0
        self._start, self._places, self._patience = start, places, patience
        self._leases: list[_Lease] = []
        self._changed = asyncio.Condition()
        self._barren = self._calls = 0
        self._broken: Exception | None = None
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> int:
        """How many workers can be asked now."""
        return len(self._leases)

    async def __aenter__(self) -> LeasingEngine:
        self._keepers = [asyncio.create_task(self._keep(place)) for place in range(self._places)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """What the least busy worker's engine gives; `on_text` is told each continuation once, when it is whole.

        Raises:
            WorkerLostError: the worker was lost before its reply came here.
            InputError: a picture can be read here and not there.
            EngineError: there was no worker for `patience` seconds, or they are lost as soon as they start.
            StepsightError: as the worker's engine raises.
        """
        lease = await self._taken()
        lease.busy += 1
        try:
            result = await self._asked(lease.worker, request)
        except WorkerLostError:
            self._drop(lease)
            raise
        except PictureError as error:
            await asyncio.to_thread(_read_here, request)
            # Else it would be rejected as unreadable, and with it all that this node is asked.
            raise InputError(
                f"{lease.worker.where} cannot read a picture that can be read here: {error.args[0]}",
                hint="give all nodes the file system that the pictures are on, at the same path",
            ) from error
        finally:
            lease.busy -= 1
        self._barren = 0
        if on_text is not None:
            for slot, completion in enumerate(result.completions):
                on_text(slot, completion.piece.text)
        return result

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Not offered: nothing here scores."""
        raise NotImplementedError("workers do not score")

    async def _asked(self, worker: Worker, request: SampleRequest) -> SampleResult:
        """What the worker's engine gives or raises; whether it may send again is for the request's own meter to say."""
        self._calls += 1
        call, meter = self._calls, request.meter
        outcome = await worker.sample(call, _anywhere(request))
        while True:
            for failed in outcome.failed:
                if meter is not None:
                    await meter.failed(failed.why, billed=failed.billed)
            if outcome.result is not None:
                return outcome.result
            if outcome.error is not None:
                raise outcome.error
            outcome = await worker.go_on(call, meter is None or await meter.again())

    async def _taken(self) -> _Lease:
        async with self._changed:
            try:
                async with asyncio.timeout(self._patience):
                    await self._changed.wait_for(lambda: self._leases or self._broken)
            except TimeoutError:
                raise EngineError(
                    f"there was no worker for {self._patience:g} s", hint="see `ray status`, then --resume"
                ) from None
        if self._broken is not None:
            raise self._broken
        return min(self._leases, key=lambda lease: lease.busy)

    async def _keep(self, place: int) -> None:
        """Have a worker at this place, as long as that makes sense."""
        while self._broken is None:
            try:
                lease = _Lease(await self._start(place))
            except WorkerLostError as error:
                await self._mourn(error)
                continue
            except Exception as error:  # no task awaits this one; whoever asks next raises it
                return await self._break(error)
            self._leases.append(lease)
            # Whoever sees it first: one who asked, or one who only watches.
            signs = [asyncio.ensure_future(sign) for sign in (lease.worker.gone(), lease.lost.wait())]
            try:
                await self._tell()
                await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for sign in signs:
                    sign.cancel()
                lease.worker.end()
            self._drop(lease)
            await self._mourn(WorkerLostError(f"the worker on {lease.worker.where} was lost"))

    def _drop(self, lease: _Lease) -> None:
        lease.lost.set()
        if lease in self._leases:
            self._leases.remove(lease)

    async def _mourn(self, error: WorkerLostError) -> None:
        self.losses += 1
        self._barren += 1
        if self._barren >= LOSSES * self._places:
            await self._break(
                EngineError(
                    f"{self._barren} workers were lost and none has replied: {error.args[0]}",
                    hint="the nodes' Ray logs say why; --resume goes on",
                )
            )

    async def _break(self, error: Exception) -> None:
        self._broken = self._broken or error
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _anywhere(request: SampleRequest) -> SampleRequest:
    """The request as another process can take it: its meter stays here, and paths do not depend on a current folder."""
    turns = (replace(turn, images=tuple(path.absolute() for path in turn.images)) for turn in request.turns)
    return replace(request, turns=tuple(turns), meter=None)


def _read_here(request: SampleRequest) -> None:
    """Read all pictures; raises as one who had asked from here."""
    for turn in request.turns:
        for path in turn.images:
            load_picture(path)
