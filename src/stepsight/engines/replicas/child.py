"""What runs in each process: engines, asked over a pipe whose number is the only argument.

python -m stepsight.engines.replicas.child 5
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from stepsight.engines.replicas.messages import Answer, Ask, Drop, Load, Loaded, Told
from stepsight.errors import EngineError, StepsightError
from stepsight.protocols import SampleRequest


class _Child:
    """Takes messages, gives each a task, and says what comes of it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._engines: dict[str, Any] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outbox: list[Answer] = []

    async def run(self) -> None:
        """Until the pipe closes."""
        loop, heard = asyncio.get_running_loop(), asyncio.Queue[list[Any] | None]()
        threading.Thread(target=self._listen, args=(loop, heard), daemon=True).start()
        while (messages := await heard.get()) is not None:
            # All of a list are begun in one turn of the loop, so that what came together runs together.
            for message in messages:
                if isinstance(message, Drop):
                    if task := self._tasks.get(message.id):
                        task.cancel()
                    continue
                work = self._load(message) if isinstance(message, Load) else self._ask(message)
                self._tasks[message.id] = asyncio.create_task(self._answered(message.id, work))

    def _listen(self, loop: asyncio.AbstractEventLoop, heard: asyncio.Queue[list[Any] | None]) -> None:
        while True:
            try:
                messages = self._pipe.recv()
            except (EOFError, OSError):
                loop.call_soon_threadsafe(heard.put_nowait, None)
                return
            loop.call_soon_threadsafe(heard.put_nowait, messages)

    async def _answered(self, id: int, work: Any) -> None:
        try:
            result = await work
        except StepsightError as error:
            result = error
        except Exception as error:
            result = EngineError(f"the model failed: {type(error).__name__}: {error}", hint="see the log")
        finally:
            self._tasks.pop(id, None)
        self._outbox.append(Answer(id, result))
        asyncio.get_running_loop().call_soon(self._flush)

    async def _load(self, message: Load) -> Loaded:
        engine = await asyncio.to_thread(self._loaded, message)
        self._engines[message.model] = engine
        return Loaded(engine.name, engine.capabilities)

    def _loaded(self, message: Load) -> Any:
        from stepsight.engines.transformers import TransformersEngine
        from stepsight.engines.transformers.placing import find_device, own_device
        from stepsight.engines.transformers.room import room_for_rows

        device = own_device(str(message.options.get("device", "auto")), message.number)
        options = {**message.options, "device": device}
        where = find_device(device)
        if options.get("rows_gb") is None and where.type == "cpu":
            options["rows_gb"] = room_for_rows(where, message.replicas) / 2**30
        return TransformersEngine.load(**options, beside=self._engines.get(message.beside))

    async def _ask(self, message: Ask) -> Any:
        engine = self._engines[message.model]
        if isinstance(message.request, SampleRequest):
            return await engine.sample(message.request, partial(self._tell, message.id) if message.telling else None)
        return await engine.score(message.request)

    def _tell(self, id: int, slot: int, text: str) -> None:
        self._send([Told(id, slot, text)])

    def _flush(self) -> None:
        answers, self._outbox = self._outbox, []
        if answers:
            self._send(answers)

    def _send(self, messages: list[Any]) -> None:
        with self._sending:
            self._pipe.send(messages)


def main() -> None:
    """Serve until whoever started this lets go of the pipe."""
    # Ctrl-C reaches all processes of a terminal; the one that started this decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        asyncio.run(_Child(Connection(int(sys.argv[1]))).run())
    # Nobody is there for whom an engine would have to finish anything.
    os._exit(0)


if __name__ == "__main__":
    main()
