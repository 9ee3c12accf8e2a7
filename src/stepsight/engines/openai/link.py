"""One server as seen from one event loop: sends a request, and asks again where that may help."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

import httpx2

from stepsight.engines.openai.address import Key
from stepsight.engines.openai.faults import refusal, timed_out, unreachable, unreadable
from stepsight.engines.openai.retrying import Backoff, retry_after
from stepsight.engines.openai.streaming import BadStreamError, Hear, whole_reply
from stepsight.engines.openai.window import Gate, Window
from stepsight.errors import EngineError, InputError, StepsightError
from stepsight.protocols import Meter

Json = Mapping[str, Any]


class Refusal(Protocol):
    """What a status other than 200 means, as an error; see `faults.refusal`."""

    def __call__(self, status: int, body: str, *, model: str, url: str, key: Key) -> StepsightError: ...


@dataclass(frozen=True)
class Server:
    """Where to ask, and with what patience.

    url: checked by `checked_url`. model: the id that requests name. timeout: seconds until a whole reply must be
    there. most_at_once: the ceiling of the window of requests under way. refusal: reads what the server says when it
    refuses. sleep: is awaited before asking again, and may raise instead. rng, clock: for tests.
    """

    url: str
    model: str
    key: Key = field(default_factory=Key)
    timeout: float = 600.0
    most_at_once: int = 64
    backoff: Backoff = field(default_factory=Backoff)
    refusal: Refusal = field(default=refusal, compare=False)
    rng: Random = field(default_factory=Random, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, compare=False)


@dataclass(frozen=True)
class _Failure:
    error: StepsightError
    billed: bool  # whether the server may have worked, and bill it
    wait: float | None = None  # what the server asked for


class Link:
    """A pool of connections to a server, for the event loop on which it was made.

    Cancelling a task that waits for a reply closes its connection, by which servers notice and stop working on it.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.window = Window(limit=min(8.0, float(server.most_at_once)), most=server.most_at_once)
        self.sent = 0
        self._gate = Gate(self.window, server.clock, server.sleep)
        # The pool must never be narrower than the window, or requests would queue unseen inside it and time out there.
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(server.timeout, connect=10.0, pool=None),
            limits=httpx2.Limits(max_connections=server.most_at_once, max_keepalive_connections=server.most_at_once),
            headers=server.key.headers(),
        )

    async def post(self, path: str, payload: Json, meter: Meter | None = None) -> Json:
        """Send `payload` and return the reply's JSON object.

        Every sending without a reply is told to `meter`, and none follows that it does not allow.

        Raises:
            StepsightError: as `stepsight.engines.openai.faults` says; only after all attempts if asking again may help.
        """
        return await self._patiently("POST", path, json.dumps(payload).encode(), meter=meter)

    async def stream(self, path: str, payload: Json, hear: Hear, meter: Meter | None = None) -> Json:
        """Send `payload`, which asks for a stream, and return the reply put together, as `post` does and raises.

        A stream that breaks off is asked for again from its beginning, and `hear` hears the new one from its beginning.
        A server that replies in one go is taken at that.
        """
        return await self._patiently("POST", path, json.dumps(payload).encode(), hear, meter)

    async def get(self, path: str) -> Json:
        """Ask for a resource; raises as `post`."""
        return await self._patiently("GET", path, None)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _patiently(
        self, method: str, path: str, body: bytes | None, hear: Hear | None = None, meter: Meter | None = None
    ) -> Json:
        server = self.server
        failures = 0
        while True:
            outcome = await self._once(method, path, body, hear)
            if not isinstance(outcome, _Failure):
                return outcome
            failures += 1
            if meter is not None:
                await meter.failed(str(outcome.error.args[0]), billed=outcome.billed)
            wait = server.backoff.wait(failures, outcome.wait, server.rng) if outcome.error.retryable else None
            if wait is None:
                raise _given_up(outcome, failures)
            if outcome.wait is not None:
                self._gate.pause(outcome.wait)
            await server.sleep(wait)
            if meter is not None and not await meter.again():
                raise _given_up(outcome, failures)

    async def _once(self, method: str, path: str, body: bytes | None, hear: Hear | None) -> Json | _Failure:
        server, headers = self.server, {"Content-Type": "application/json"}
        async with self._gate.passage() as ticket:
            self.sent += 1
            try:
                async with asyncio.timeout(server.timeout):
                    # Leaving the block before the end, by an error or a cancelled task, closes the connection.
                    async with self._client.stream(
                        method, f"{server.url}{path}", content=body, headers=headers
                    ) as reply:
                        if hear is not None and reply.status_code == 200 and _is_stream(reply):
                            chunks = reply.aiter_bytes()
                            found = await whole_reply(chunks, hear, model=server.model, url=server.url, key=server.key)
                            self.window.succeeded()
                            # A connection that is read to its end can be used again.
                            with suppress(TimeoutError, httpx2.RequestError):
                                async with asyncio.timeout(1.0):
                                    async for _ in chunks:
                                        pass
                            return found
                        await reply.aread()
                        text = reply.text
            except BadStreamError as error:
                return _Failure(error.error, billed=True)
            except (TimeoutError, httpx2.TimeoutException) as error:
                if isinstance(error, httpx2.ConnectTimeout):
                    return _Failure(unreachable(server.url, "no connection within 10 s"), billed=False)
                self.window.overloaded(ticket)
                return _Failure(timed_out(server.url, f"no whole reply within {server.timeout:g} s"), billed=True)
            except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.ProxyError) as error:
                raise InputError(f"the server {server.url} cannot be asked: {error}") from error
            except httpx2.RequestError as error:
                cut = unreachable(server.url, server.key.hidden_in(str(error)) or type(error).__name__)
                return _Failure(cut, billed=not isinstance(error, httpx2.ConnectError))
            if reply.status_code != 200:
                error_ = server.refusal(reply.status_code, text, model=server.model, url=server.url, key=server.key)
                if error_.retryable and reply.status_code in (429, 503):
                    self.window.overloaded(ticket)
                # Who sends a request away has not worked on it; who breaks may have, and a bill need not tell.
                worked = error_.retryable and reply.status_code != 429
                return _Failure(error_, worked, retry_after(reply.headers.get("Retry-After"), datetime.now(UTC)))
            self.window.succeeded()
        with suppress(ValueError):
            whole = json.loads(text)
            if isinstance(whole, dict):
                return whole
        return _Failure(unreadable(server.url, "it is no JSON object"), billed=True)


def _is_stream(reply: httpx2.Response) -> bool:
    return bool(reply.headers.get("Content-Type", "").lower().startswith("text/event-stream"))


def _given_up(failure: _Failure, failures: int) -> StepsightError:
    """The last error, with how often it was tried; kept as it is if it was not worth trying again."""
    error = failure.error
    if not error.retryable or not isinstance(error, EngineError):
        return error
    wanted = f"; it asks to wait {failure.wait:.0f} s" if failure.wait else ""
    return EngineError(f"{error.args[0]}, tried {failures} times{wanted}", hint=error.hint, retryable=True)
