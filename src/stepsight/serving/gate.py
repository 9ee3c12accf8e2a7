"""What every request passes before it reaches the app, and every reply on its way back.

who asks      the key, the Host header (a name that a hostile page has pointed at this machine is none of ours),
              the Origin header (a page from elsewhere may not make this server work)
how much      the body's size, its time, and how much all requests hold together
what leaves   headers that browsers heed; an envelope instead of a traceback; one line in the log, without a word
              of what was asked
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepsight.serving.limits import Limits
from stepsight.serving.refusals import Refused, busy
from stepsight.serving.searching import GoneError

_log = logging.getLogger(__name__)

_LOCKED = ("/v1", "/metrics")
_BODY_SECONDS = 60.0
_SPARE = 64
"""So many more requests are read than can search or wait: those that only look, and those that are being refused."""
BODY_READ = "stepsight.body_read"
"""Of a request's scope: to be called when its body is of no use any more."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Access:
    """Who may ask. key: must be sent as a bearer token; empty: nobody needs one. hosts: names under which this server
    is asked, None: any. origins: of pages from elsewhere that may ask."""

    key: str = ""
    hosts: frozenset[str] | None = None
    origins: frozenset[str] = frozenset()

    def check(self, path: str, headers: Headers) -> None:
        """Let a request in.

        Raises:
            Refused: it may not come in.
        """
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Refused(421, "this server is not asked under that name", "unknown_host")
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "pages of this origin may not ask this server", "unknown_origin")
        if self.key and any(path == locked or path.startswith(f"{locked}/") for locked in _LOCKED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(given.strip()), _digest(self.key)):
                how = {"WWW-Authenticate": "Bearer"}
                raise Refused(401, "a valid API key is needed, as a bearer token", "invalid_api_key", headers=how)


class Gate:
    """The outermost layer around the app."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, answered: Callable[[str, int], None]) -> None:
        """Take what is inside, who may ask, the bounds, and who counts answers by path and status."""
        self._app = app
        self._access = access
        self._limits = limits
        self._answered = answered
        self._inside = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, as ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        return await _Visit(self, scope, receive, send).serve()


class _Visit:
    """One request inside the gate."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0
        self._bytes = 0
        self._whole = False
        self._started = time.monotonic()
        self._id = f"req-{secrets.token_hex(8)}"

    async def serve(self) -> None:
        gate, limits = self._gate, self._gate._limits
        gate._inside += 1
        self._scope[BODY_READ] = self._let_go
        try:
            headers = Headers(scope=self._scope)
            gate._access.check(self._scope["path"], headers)
            if gate._inside > limits.searches + limits.queue + _SPARE:
                raise busy(1)
            declared = headers.get("content-length", "0")
            if not declared.isdigit() or int(declared) > limits.body_bytes:
                raise await self._too_large()
            await gate._app(self._scope, self.receive, self.send)
        except Refused as refused:
            await self._refuse(refused)
        except GoneError:
            pass
        except asyncio.CancelledError:
            # The process is being stopped, and has waited long enough.
            await self._refuse(Refused(503, "this server is being stopped", "shutting_down", retry_after=5))
        except Exception as error:
            _log.error("%s failed: %s at %s", self._id, type(error).__name__, where(error))
            _log.debug("%s", self._id, exc_info=error)
            await self._refuse(Refused(500, "something went wrong in this server", "internal_error"))
        finally:
            gate._inside -= 1
            self._let_go()
            gate._answered(self._scope["path"], self._status)
            seconds = time.monotonic() - self._started
            _log.info("%s %s %s %.3f s", self._id, self._scope["method"], self._status or "gone", seconds)

    async def receive(self) -> Message:
        """The next piece of the body, counted."""
        if self._whole:
            return await self._receive()
        left = self._started + _BODY_SECONDS - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, "the body took too long", "timeout") from None
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._bytes += size
        self._gate._held += size
        if self._bytes > self._gate._limits.body_bytes:
            raise await self._too_large()
        if self._gate._held > self._gate._limits.held_bytes:
            raise busy(1)
        return message

    async def send(self, message: Message) -> None:
        """A message on its way out."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            api = self._scope["path"].startswith(("/v1", "/metrics", "/health", "/openapi.json"))
            headers.setdefault("Content-Security-Policy", API_POLICY if api or self._status >= 400 else PAGE_POLICY)
            headers.setdefault("Cache-Control", "no-store" if api else "no-cache")
            headers["X-Request-Id"] = self._id
        await self._send(message)

    async def _refuse(self, refused: Refused) -> None:
        if self._status:
            return
        body = json.dumps(refused.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.all_headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def _too_large(self) -> Refused:
        """Read on for a moment without keeping anything: clients that still write would not read the refusal."""
        most, until = 2 * self._gate._limits.body_bytes, self._started + 5.0
        read = 0
        while not self._whole and read < most and time.monotonic() < until:
            try:
                async with asyncio.timeout(1.0):
                    message = await self._receive()
            except TimeoutError:
                break
            read += len(message.get("body", b""))
            self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        limit = self._gate._limits.body_mb
        return Refused(413, f"the body is larger than {limit:g} MB", "body_too_large")

    def _let_go(self) -> None:
        self._gate._held -= self._bytes
        self._bytes = 0


def where(error: BaseException) -> str:
    """Where in this code an error was raised: file names and lines, without folders, values or messages."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def loopback_names(host: str, more: Sequence[str] = ()) -> frozenset[str]:
    """Names under which a server on this machine alone is asked."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.strip("[]").lower(), *(name.lower() for name in more)})
