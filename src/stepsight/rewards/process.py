"""A reward model in a process of its own, by whatever interpreter has the libraries that it needs."""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from stepsight.errors import EngineError, InputError, ModelError
from stepsight.protocols import ValueRequest, ValueResult
from stepsight.rewards.endpoint import EndpointReward
from stepsight.tasks import finished

REMOTE = Path(__file__).with_name("remote")
"""The folder that the other interpreter runs."""
KINDS = ("classifier", "ixc", "visualprm")
"""What it can serve; see `stepsight.rewards.remote.models`."""
ENDING = 2.0
"""So many seconds a process has to end by itself."""
_SHOWN = 12
"""So many lines of what it wrote are shown if it fails."""


@dataclass(frozen=True)
class RemoteChoice:
    """Which reward model to serve, and how.

    kind: one of `KINDS`. model: a hub id or a folder. python: the interpreter; this one if empty. device, dtype:
    "auto", or as torch calls them. trust_remote_code: run the code that comes with the model, in that process. steps:
    of a process reward model, whether the score is the mean of its steps' probabilities or the log-odds of the last
    one. deadline: seconds until the model must be loaded.

    Raises:
        InputError: the interpreter is not there, or the deadline is no time.
    """

    kind: str
    model: str
    python: str = ""
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    steps: Literal["mean", "last"] = "mean"
    deadline: float = 1800.0

    def __post_init__(self) -> None:
        if self.deadline <= 0:
            raise InputError("a deadline is a number of seconds", hint="leave it away")
        if self.python and shutil.which(self.python) is None:
            raise InputError(f"there is no interpreter {self.python!r}", hint="give the path of a python that can run")

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.kind}:{self.model}"

    def command(self) -> list[str]:
        """What is run."""
        folder = Path(self.model).expanduser()
        words = [(shutil.which(self.python) if self.python else None) or sys.executable, str(REMOTE)]
        words += ["--kind", self.kind, "--model", str(folder.absolute()) if folder.is_dir() else self.model]
        words += ["--device", self.device, "--dtype", self.dtype, "--steps", self.steps, "--end-with-stdin"]
        words += ["--revision", self.revision] if self.revision else []
        return [*words, "--trust-remote-code"] if self.trust_remote_code else words


class ProcessReward:
    """A `RewardModel` that runs in a child process for as long as this object is there.

    The child holds the reading end of a pipe and ends when it closes, so it dies with this process, however that ends.

    Args:
        choice: what to serve.
        batch: most answers in one request.
        timeout: seconds until a whole reply must be there.

    Raises:
        ModelError: the model cannot be loaded, or not within the deadline; the message has the child's last words.
    """

    def __init__(self, choice: RemoteChoice, *, batch: int = 8, timeout: float = 600.0) -> None:
        self.choice = choice
        self._child = _Child(choice)
        self._end = weakref.finalize(self, _end, self._child.popen)
        try:
            self._endpoint = EndpointReward(
                f"http://127.0.0.1:{self._child.port()}",
                batch=batch,
                most_at_once=2,
                timeout=timeout,
                sleep=self._child.sleep,  # not a method of this object, which would then outlive its last user
            )
            finished(self._hello())
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The kind and the model."""
        return self.choice.name

    @property
    def scale(self) -> str:
        """What the scores are: "unbounded", "probability" or "log-odds"."""
        return self._endpoint.scale

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.popen.pid

    async def value(self, requests: Sequence[ValueRequest]) -> list[ValueResult]:
        """Value many answers; raises as `EndpointReward.value`, and EngineError if the child has ended."""
        if not requests:
            return []
        self._child.check()
        try:
            return await self._endpoint.value(requests)
        except EngineError:
            self._child.check()
            raise

    async def aclose(self) -> None:
        """Close the connections of the running event loop, as engines do; the child stays, and can be asked again."""
        await self._endpoint.aclose()

    def close(self) -> None:
        """End the child, for good; may be called twice."""
        self._end()

    def __enter__(self) -> ProcessReward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _hello(self) -> None:
        try:
            await self._endpoint.connect()
        finally:
            await self._endpoint.aclose()


class _Child:
    """The process, and the last that it said."""

    def __init__(self, choice: RemoteChoice) -> None:
        self.choice = choice
        self.popen = _start(choice)
        self._said: deque[str] = deque(maxlen=_SHOWN)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self._ear = _reader(self.popen.stderr, self._said.append)
        _reader(self.popen.stdout, self._lines.put, at_end="")

    def port(self) -> int:
        """Wait for it to say its port."""
        name, deadline = self.choice.name, self.choice.deadline
        try:
            line = self._lines.get(timeout=deadline)
        except queue.Empty:
            raise ModelError(
                f"the reward model {name} was not loaded within {deadline:g} s{self._tail()}",
                hint="raise the deadline, or download the model first",
            ) from None
        if line.strip().isdigit():
            return int(line)
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(ENDING)
        code = self.popen.poll()
        self._ear.join(ENDING)
        if any(line.startswith("error: ") and "--trust-remote-code" in line for line in self._said):
            raise ModelError(
                f"the reward model {name} runs code of its own, which was not allowed",
                hint="read that code, then allow it with trust_remote_code",
            )
        how = "did not say its port" if code is None else f"could not be started ({_how(code)})"
        raise ModelError(
            f"the reward model {name} {how}{self._tail()}",
            hint="name an interpreter that has what this model needs, or see what it says above",
        )

    def check(self) -> None:
        """Raise an error if it has ended."""
        code = self.popen.poll()
        if code is not None:
            self._ear.join(ENDING)
            raise EngineError(
                f"the process of the reward model {self.choice.name} has ended ({_how(code)}){self._tail()}",
                hint="start it anew; if it ran out of memory, use a smaller dtype or another device",
            )

    async def sleep(self, seconds: float) -> None:
        """Wait before asking again, unless nobody is left to answer."""
        self.check()
        await asyncio.sleep(seconds)

    def _tail(self) -> str:
        said = "\n".join(f"    {line}" for line in self._said)
        return f"; it said last:\n{said}\n" if said else ", without a word"


def _start(choice: RemoteChoice) -> subprocess.Popen[str]:
    # Packages of this interpreter are not for another one.
    hidden = {"PYTHONPATH", "PYTHONHOME"} if choice.python else set()
    try:
        return subprocess.Popen(
            choice.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={name: value for name, value in os.environ.items() if name not in hidden},
            start_new_session=True,  # Ctrl-C is ours to handle; the pipe ends the child
        )
    except OSError as error:
        raise ModelError(f"{choice.command()[0]} cannot be run: {error}", hint="give a python that can run") from error


def _reader(stream: IO[str], take: Callable[[str], object], at_end: str | None = None) -> threading.Thread:
    """Read lines for as long as there are any, so that the child never waits for somebody to read."""

    def read() -> None:
        with stream:
            for line in stream:
                take(line.rstrip("\n"))
        if at_end is not None:
            take(at_end)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    with suppress(OSError):
        child.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(ENDING)
        return
    child.kill()
    child.wait()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
