"""A small JSON server in threads, out of the standard library: what the shipped fakes are made of.

It is for tests and rehearsals on one machine: a thread for each connection, on 127.0.0.1, without encryption.
"""

from __future__ import annotations

import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from stepsight.errors import InputError

HOST = "127.0.0.1"


class SmallServer(ABC):
    """Serves from a thread while the `with` block runs.

    `connections` counts those that were ever made.
    """

    def __init__(self, port: int = 0) -> None:
        """Bind `port` on 127.0.0.1; 0 takes a free one, see `url`.

        Raises:
            InputError: the port is taken, or not ours to take.
        """
        self.connections = 0
        self._sockets: set[socket.socket] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                owner.connections += 1
                owner._sockets.add(self.connection)

            def finish(self) -> None:
                super().finish()
                owner._sockets.discard(self.connection)

            def do_GET(self) -> None:
                owner.listed(self)

            def do_POST(self) -> None:
                owner.posted(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, format: str, *args: object) -> None:
                pass

        try:
            self._http = ThreadingHTTPServer((HOST, port), Handler)
        except OSError as error:
            raise InputError(f"port {port} cannot be had: {error.strerror}", hint="choose another, or 0") from error
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL, for `--server`."""
        return f"http://{HOST}:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @abstractmethod
    def listed(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a GET."""

    @abstractmethod
    def posted(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
        """Answer a POST."""


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: Mapping[str, Any] | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    cut: int | None = None,
) -> None:
    """Send a reply in one go, or the beginning of one."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data[:cut])
    if cut is not None:
        hang_up(handler)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without another word."""
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
