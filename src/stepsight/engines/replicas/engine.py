"""Several copies of a model, each in a process of its own, behind one engine.

    tasks -> requests -> Homes: which replica -> pipe -> TransformersEngine in a child -> pipe -> tasks

A small model leaves all cores but one idle between its operations, and a second accelerator is idle altogether; another
process uses them. What belongs to one picture goes to one replica, whose caches know it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from stepsight.engines.placement import check_replicas
from stepsight.engines.replicas.fleet import Fleet
from stepsight.engines.replicas.messages import Answer, Ask, Drop, Load, Loaded, Told
from stepsight.engines.replicas.routing import Homes, Request
from stepsight.engines.waiting import Reply
from stepsight.errors import EngineError
from stepsight.machine import count_cores
from stepsight.protocols import Capabilities, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult


class ReplicatedEngine:
    """A model in several processes. It answers as `TransformersEngine` does; a seed gives the same in each.

    Weights and caches (`cache_gb`) are there once for each replica. Rows have `rows_gb` in each, if that is given; else
    replicas on the CPU divide what one would have. Made by `load`.

    Not covered: a request is not given to another replica when the one that had it ends; it fails. Windows, where a
    child cannot be given a pipe in this way.
    """

    def __init__(self, crew: _Crew, model: str, loaded: Loaded) -> None:
        self._crew, self._model, self._loaded = crew, model, loaded

    @classmethod
    def load(cls, model: str | Path, replicas: int, *, threads: int | None = None, **options: Any) -> ReplicatedEngine:
        """Start the processes and load the model in each.

        Args:
            model: A folder, or a hub id.
            replicas: How many.
            threads: Threads of torch that they divide among themselves; None: one for each core.
            options: As `TransformersEngine.load`. With the device `auto` or `cuda` each takes an accelerator of its
                own, as long as there are so many.

        Raises:
            InputError: An option makes no sense.
            ModelError, MissingExtraError: As `TransformersEngine.load`.
            EngineError: A process ended while it loaded.
        """
        check_replicas(replicas, options.get("device_map"))
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        total = threads or (int(wanted) if wanted.isdigit() else None) or count_cores() or 1
        crew = _Crew(replicas, max(1, total // replicas))
        try:
            return cls(crew, str(model), crew.load(str(model), {"model": model, **options}))
        except BaseException:
            crew.close()
            raise

    def also(self, key: str, **options: Any) -> ReplicatedEngine:
        """Load another model beside this one, in the same processes and threads; see `TransformersEngine.load`."""
        return ReplicatedEngine(self._crew, key, self._crew.load(key, options, beside=self._model))

    @property
    def name(self) -> str:
        """As that of the engine in each process."""
        return self._loaded.name

    @property
    def capabilities(self) -> Capabilities:
        """As those of the engine in each process."""
        return self._loaded.capabilities

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes."""
        return self._crew.fleet.pids

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Sample continuations; see `TransformersEngine.sample`.

        Raises:
            EngineError: The process that worked on it has ended.
        """
        if not request.seeds:
            return SampleResult(())
        # A meter counts what is sent to servers; here nothing is, and it could not travel.
        result: SampleResult = await self._crew.ask(self._model, replace(request, meter=None), on_text)
        return result

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score texts; see `TransformersEngine.score`.

        Raises:
            EngineError: The process that worked on it has ended.
        """
        if not requests:
            return []
        results: list[ScoreResult] = await self._crew.ask(self._model, tuple(requests), None)
        return results

    def close(self) -> None:
        """End the processes, and all models in them; what is not finished fails with EngineError."""
        self._crew.close()

    def __enter__(self) -> ReplicatedEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pending:
    """A request under way."""

    def __init__(self, replica: int, request: Request, reply: Reply[Any], on_text: OnText | None) -> None:
        self.replica, self.request, self.reply, self.on_text = replica, request, reply, on_text


class _Crew:
    """The processes, and who waits for what. Several engines may use it, from several event loops."""

    def __init__(self, count: int, threads: int) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._homes = Homes(count)
        self._pending: dict[int, _Pending] = {}
        self._loading: dict[int, tuple[int, Callable[[Any], None]]] = {}
        self._outbox: dict[int, list[Any]] = {}
        self._dead: dict[int, Exception] = {}
        self.fleet = Fleet(count, threads, hear=self._hear, lost=self._lost)

    def load(self, model: str, options: Mapping[str, Any], beside: str = "") -> Loaded:
        """Load a model in every process, and wait for all."""
        done = threading.Semaphore(0)
        results: list[Any] = []

        def loaded(result: Any) -> None:
            results.append(result)
            done.release()

        for number in range(len(self.fleet)):
            with self._lock:
                dead, id = self._dead.get(number), next(self._ids)
                self._loading[id] = (number, loaded)
            if dead is not None:
                raise dead
            self.fleet.tell(number, [Load(id, model, options, beside, number, len(self.fleet))])
        for _ in range(len(self.fleet)):
            done.acquire()
        for result in results:
            if isinstance(result, Exception):
                raise result
        first: Loaded = results[0]
        return first

    async def ask(self, model: str, request: Request, on_text: OnText | None) -> Any:
        """What comes of a request."""
        reply: Reply[Any] = Reply()
        with self._lock:
            replica, id = self._homes.choose(request), next(self._ids)
            if (dead := self._dead.get(replica)) is not None:
                self._homes.leave(replica, request)
                raise dead
            self._pending[id] = _Pending(replica, request, reply, on_text)
            self._outbox.setdefault(replica, []).append(Ask(id, model, request, on_text is not None))
        # At the end of this turn of the event loop: what is asked in one turn runs as one batch.
        asyncio.get_running_loop().call_soon(self._flush)
        try:
            return await reply.wait()
        finally:
            with self._lock:
                pending = self._pending.pop(id, None)
                if pending is not None:
                    # It was cancelled.
                    self._homes.leave(replica, request)
                    self._outbox.setdefault(replica, []).append(Drop(id))
            if pending is not None:
                self._flush()

    def close(self) -> None:
        """End the processes; what waits fails."""
        self.fleet.close()
        for number in range(len(self.fleet)):
            self._lost(number, EngineError("the engine is closed"))

    def _flush(self) -> None:
        with self._lock:
            outbox, self._outbox = self._outbox, {}
        for replica, messages in outbox.items():
            try:
                self.fleet.tell(replica, messages)
            except EngineError as error:
                self._lost(replica, error)

    def _hear(self, number: int, message: Answer | Told) -> None:
        if isinstance(message, Told):
            told = self._pending.get(message.id)
            if told is not None and told.on_text is not None:
                told.on_text(message.slot, message.text)
            return
        with self._lock:
            pending = self._pending.pop(message.id, None)
            _, loaded = self._loading.pop(message.id, (number, None))
            if pending is not None:
                self._homes.leave(pending.replica, pending.request)
        if loaded is not None:
            loaded(message.result)
        elif pending is not None:
            _settle(pending, message.result)

    def _lost(self, number: int, error: Exception) -> None:
        with self._lock:
            self._dead.setdefault(number, error)
            ids = [id for id, one in self._pending.items() if one.replica == number]
            failed = [self._pending.pop(id) for id in ids]
            for one in failed:
                self._homes.leave(number, one.request)
            loading = [id for id, (replica, _) in self._loading.items() if replica == number]
            waiting = [self._loading.pop(id)[1] for id in loading]
        for one in failed:
            one.reply.fail(error)
        for loaded in waiting:
            loaded(error)


def _settle(pending: _Pending, result: Any) -> None:
    if isinstance(result, Exception):
        pending.reply.fail(result)
    else:
        pending.reply.answer(result)
