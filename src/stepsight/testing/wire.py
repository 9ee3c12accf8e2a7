"""How replies leave the fake server: in one go or as events, whole or cut, and whether anybody still waits."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from stepsight.testing.manners import Fault
from stepsight.testing.streams import damaged


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


def stream(handler: BaseHTTPRequestHandler, events: Iterator[str], fault: Fault) -> None:
    """Send events one by one, each a chunk of HTTP, so that a client can see where the reply was cut."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    left = fault.cut
    for event in damaged(events, replace(fault, events=3) if fault.truncated else fault):
        if fault.pause and left_within(handler.connection, replace(fault, wait=fault.pause)):
            raise BrokenPipeError
        data = f"data: {event}\n\n".encode()
        chunk = b"%x\r\n%s\r\n" % (len(data), data)
        handler.wfile.write(chunk[:left])
        handler.wfile.flush()
        if left is not None and (left := left - len(chunk)) <= 0:
            return hang_up(handler)
    handler.wfile.write(b"0\r\n\r\n")
    return None


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without another word."""
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def left_within(connection: socket.socket, fault: Fault) -> bool:
    """Wait as the fault says; whether the client closes its side meanwhile."""
    end = time.monotonic() + fault.wait
    while (left := end - time.monotonic()) > 0 and not fault.until():
        if select.select([connection], [], [], min(left, 0.02))[0]:
            try:
                if not connection.recv(1, socket.MSG_PEEK):
                    return True
            except OSError:
                return True
            time.sleep(0.01)
    return False
