"""The process: binds, loads, serves, and stops without cutting answers off."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from stepsight.errors import InputError

_KEEP_ALIVE_SECONDS = 30


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket at that address, on which nobody listens yet; port 0 takes a free one.

    Raises:
        InputError: the port is taken, or the address not ours.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(
            f"there is no address {host!r} here: {error.strerror}", hint="choose another --host"
        ) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        hint = "choose another --port, or 0 for a free one"
        raise InputError(f"port {port} of {host} cannot be had: {error.strerror}", hint=hint) from error
    return sock


def url_of(host: str, sock: socket.socket) -> str:
    """The base URL of a server on a socket."""
    name = host.strip("[]")
    return f"http://{f'[{name}]' if ':' in name else name}:{sock.getsockname()[1]}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


def run(app: FastAPI, sock: socket.socket, *, grace: float, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; then take no more, and let what is under way finish for `grace` seconds.

    `ready` is called when requests are taken.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(grace)),
        backlog=1024,
    )
    # uvicorn raises the signal that ended it once more when it has ended; by then there is nothing left to end.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(_Server(config, ready).serve(sockets=[sock]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
