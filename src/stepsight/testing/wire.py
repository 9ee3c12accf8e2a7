"""How replies leave the fake server as events, whole or cut, and whether anybody still waits."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

from stepsight.serving.small_server import hang_up
from stepsight.testing.manners import Fault
from stepsight.testing.streams import damaged


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
