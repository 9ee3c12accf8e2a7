"""The processes: started together, spoken to over pipes, ended with whoever started them.

A child holds one end of a pipe and ends when the other closes, so none outlives this process, however that ends. Each
gets its part of the processor's threads: several that compute with all of them would be in each other's way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from stepsight.engines.replicas.messages import Answer, Told
from stepsight.errors import EngineError

_ENDING = 5.0
"""So many seconds a process has to end by itself."""

Hear = Callable[[int, Answer | Told], None]
Lost = Callable[[int, Exception], None]


class Fleet:
    """Processes that run models.

    Args:
        count: how many.
        threads: of torch, in each.
        hear: a method, called with the number of a process and what it says, in a thread of that process's own.
        lost: a method, called once when a process has ended that nobody has ended, with what is to be said of it.
    """

    def __init__(self, count: int, threads: int, *, hear: Hear, lost: Lost) -> None:
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []
        for _ in range(count):
            ours, theirs = Pipe()
            with theirs:
                self._children.append(_start(theirs.fileno(), threads))
            self._pipes.append(ours)
        for number, (child, pipe) in enumerate(zip(self._children, self._pipes, strict=True)):
            # Weakly: threads that wait would keep alive whoever should be asked no more.
            arguments = (number, child, pipe, self._ending, weakref.WeakMethod(hear), weakref.WeakMethod(lost))
            threading.Thread(target=_listen, args=arguments, name=f"stepsight-replica-{number}", daemon=True).start()
        self.close = weakref.finalize(self, _end, self._children, self._pipes, self._ending)

    def __len__(self) -> int:
        return len(self._children)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids."""
        return tuple(child.pid for child in self._children)

    def tell(self, number: int, messages: Sequence[Any]) -> None:
        """Say something to a process.

        Raises:
            EngineError: it has ended.
        """
        try:
            with self._lock:
                self._pipes[number].send(messages)
        except OSError as error:
            raise _gone(number, self._children[number]) from error


def _start(pipe: int, threads: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "stepsight.engines.replicas.child", str(pipe)]
    return subprocess.Popen(
        command, pass_fds=(pipe,), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _listen(
    number: int,
    child: subprocess.Popen[bytes],
    pipe: Connection,
    ending: threading.Event,
    hear: weakref.WeakMethod[Hear],
    lost: weakref.WeakMethod[Lost],
) -> None:
    while True:
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            break
        if (listener := hear()) is None:
            return
        for message in said:
            listener(number, message)
        del listener
    if not ending.is_set() and (mourner := lost()) is not None:
        mourner(number, _gone(number, child))


def _gone(number: int, child: subprocess.Popen[bytes]) -> EngineError:
    try:
        code: int | None = child.wait(_ENDING)
    except subprocess.TimeoutExpired:
        code = None
    how = (
        "does not answer" if code is None else f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    )
    return EngineError(
        f"replica {number} {how}",
        hint="if memory ran out, take fewer replicas; else see what it printed",
    )


def _end(children: Sequence[subprocess.Popen[bytes]], pipes: Sequence[Connection], ending: threading.Event) -> None:
    ending.set()
    for pipe in pipes:
        # Closing alone would not wake the thread that reads from it, nor tell the child.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
        pipe.close()
    for child in children:
        try:
            child.wait(_ENDING)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
