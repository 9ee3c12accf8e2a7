"""Workers on the nodes of a Ray cluster, for `leasing.py`. Nothing here decides, pays or keeps.

    joined()                       this process is part of a cluster: that of RAY_ADDRESS, one that runs here, a new one
    places(nodes, workers)         which nodes get a worker
    leased(cluster, make, ...)     the engine that asks through them

A worker is an actor without a share of a CPU, for it waits most of the time. Ray never restarts one and never sends a
call twice: what was sent twice would have been paid twice. Ray is imported only where it is used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from stepsight.data.asking import Asker, Outcome
from stepsight.data.leasing import PATIENCE, LeasingEngine, WorkerLostError
from stepsight.errors import EngineError, InputError, MissingExtraError, StepsightError
from stepsight.protocols import Capabilities, Engine, SampleRequest

MakeEngine = Callable[[], Engine]
"""Makes a worker's engine, in the worker. It is pickled: it must hold no key."""

_SHOWN = 300
"""So many characters of what Ray says are shown."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster, by Ray's id and the name of its machine."""

    id: str
    host: str


def check_ray() -> None:
    """See whether Ray is there, without importing it.

    Raises:
        MissingExtraError: it is not installed.
        InputError: `RAY_ADDRESS` wants a client of Ray, which is no part of the cluster.
    """
    if find_spec("ray") is None:
        raise MissingExtraError("ray", "ray")
    if os.environ.get("RAY_ADDRESS", "").startswith("ray://"):
        raise InputError(
            "RAY_ADDRESS is that of a Ray client server, through which workers cannot be reached directly",
            hint="run on a node of the cluster, or by `ray job submit`, with the address of the cluster itself",
        )


@contextmanager
def joined() -> Iterator[list[Node]]:
    """Be part of a cluster while the block runs; gives its nodes that have CPUs.

    Raises:
        MissingExtraError: Ray is not installed.
        EngineError: the cluster cannot be joined, or has no node with a CPU.
    """
    check_ray()
    import ray

    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise EngineError(
                f"the Ray cluster cannot be joined: {error}", hint="see `ray status`, and what RAY_ADDRESS says"
            ) from error
    try:
        nodes = usable(ray.nodes())
        if not nodes:
            raise EngineError("no node of the Ray cluster has a CPU", hint="add one with `ray start`")
        yield nodes
    finally:
        if ours:
            ray.shutdown()


def usable(found: Sequence[Mapping[str, Any]]) -> list[Node]:
    """The nodes, of what `ray.nodes()` lists, that are alive and not kept free of work, in a fixed order."""
    alive = [node for node in found if node["Alive"] and node.get("Resources", {}).get("CPU", 0) > 0]
    return sorted((Node(node["NodeID"], node["NodeManagerHostname"]) for node in alive), key=lambda node: node.id)


def places(nodes: Sequence[Node], workers: int | None) -> list[Node]:
    """Where workers stand: one on each node, or so many in turn."""
    return [nodes[number % len(nodes)] for number in range(len(nodes) if workers is None else workers)]


def leased(
    name: str, capabilities: Capabilities, make: MakeEngine, stands: Sequence[Node], *, patience: float = PATIENCE
) -> LeasingEngine:
    """The engine that asks through a worker at each of `stands`; works inside `joined`.

    Args:
        name: that of the workers' engines.
        capabilities: theirs.
        make: makes an engine in each worker.
        stands: a node for each; one whose node is gone is started on another.
        patience: seconds that requests wait while there is no worker.
    """
    import ray
    from ray.exceptions import RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    actor = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Actor)

    async def start(place: int) -> _Worker:
        node = stands[place]
        # A preference alone is not kept while news of the other nodes has not reached this one.
        alive = any(one["NodeID"] == node.id and one["Alive"] for one in ray.nodes())
        stand = NodeAffinitySchedulingStrategy(node.id, soft=not alive)
        worker = _Worker(actor.options(scheduling_strategy=stand).remote(make, _versions()), node.host)
        try:
            told = await worker.told(worker.actor.ready.remote())
            if isinstance(told, StepsightError):
                raise told
        except BaseException as error:
            worker.end()
            if isinstance(error, RayTaskError):
                why = str(error).strip().splitlines()[-1]
                raise EngineError(
                    f"a worker on {node.host} cannot start: {why}", hint="install the same stepsight on all nodes"
                ) from error
            raise
        return worker

    return LeasingEngine(name, capabilities, start, len(stands), patience=patience)


class _Actor:
    """What runs on a node."""

    def __init__(self, make: MakeEngine, versions: tuple[str, ...]) -> None:
        self._make, self._versions = make, versions

    async def ready(self) -> StepsightError | None:
        """Make the engine; says what stands against it."""
        host = platform.node()
        if self._versions != _versions():
            wanted, found = (" with Python ".join(one) for one in (self._versions, _versions()))
            return InputError(f"{host} has stepsight {found}, this is {wanted}", hint="install the same on all nodes")
        try:
            self._asker = Asker(self._make())
        except StepsightError as error:
            error.args = (f"{error.args[0]} (on {host})",)
            return error
        return None

    async def alive(self) -> None:
        """Never return; who waits for it learns of this worker's end."""
        await asyncio.Event().wait()

    async def sample(self, call: int, request: SampleRequest) -> Outcome:
        """See `Asker`."""
        return await self._asker.sample(call, request)

    async def go_on(self, call: int, allowed: bool) -> Outcome:
        """See `Asker`."""
        return await self._asker.go_on(call, allowed)


class _Worker:
    """A handle to an actor, as `leasing.Worker`."""

    def __init__(self, actor: Any, where: str) -> None:
        self.actor, self.where = actor, where

    async def sample(self, call: int, request: SampleRequest) -> Outcome:
        found: Outcome = await self.told(self.actor.sample.remote(call, request))
        return found

    async def go_on(self, call: int, allowed: bool) -> Outcome:
        found: Outcome = await self.told(self.actor.go_on.remote(call, allowed))
        return found

    async def gone(self) -> None:
        with suppress(WorkerLostError):
            await self.told(self.actor.alive.remote())

    async def told(self, reference: Awaitable[Any]) -> Any:
        """What a call returns; `WorkerLostError` if it can no longer return."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return await reference
        except asyncio.CancelledError:
            # By this the worker closes its connection, and the server notices.
            ray.cancel(reference)
            raise
        except RayTaskError:
            raise  # a fault in the code there, as it would be one here
        except RayError as error:
            why = " ".join(str(error).split())
            raise WorkerLostError(f"the worker on {self.where} was lost: {why[:_SHOWN]}") from error

    def end(self) -> None:
        import ray

        ray.kill(self.actor)


def _versions() -> tuple[str, str]:
    return version("stepsight"), platform.python_version()
