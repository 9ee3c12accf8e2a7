"""The one thread in which everything runs that multiplies matrices, loading included.

OpenMP gives each thread that computes a team of its own. As soon as there are more members of teams than processors,
those of libgomp stop waiting actively for their next task, and on two cores each operation that they share takes twice
as long. Loading a model computes, so where it is loaded matters for as long as the process lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class OneThread:
    """Runs what it is given, one after the other, in a daemon thread that begins with the first.

    Several may use it, each with long work cut into turns; it ends when all have said so.

    The threads of an executor will not do: the interpreter waits for them at its end, and an engine that nobody closed
    would keep it waiting for ever.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._begun: threading.Thread | None = None
        self._users = 1

    @property
    def inside(self) -> bool:
        """Whether whoever asks runs in it."""
        return threading.current_thread() is self._begun

    def start(self, act: Callable[[], Result]) -> Future[Result]:
        """Run `act` when all before it is done."""
        future: Future[Result] = Future()
        self._tasks.put((act, future))
        with self._lock:
            if self._begun is None:
                self._begun = threading.Thread(target=_work, args=(self._tasks,), name=self._name, daemon=True)
                self._begun.start()
        return future

    def call(self, act: Callable[[], Result]) -> Result:
        """Run `act` and wait for what comes of it; what it raises is raised here."""
        return self.start(act).result()

    def shared(self) -> OneThread:
        """The same thread, for one more who uses it."""
        with self._lock:
            self._users += 1
        return self

    def end(self) -> None:
        """Let the thread end behind what it was given, if nobody else uses it."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._tasks.put(None)


def _work(tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    while (task := tasks.get()) is not None:
        act, future = task
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)
        del act, future, task
