"""A real `stepsight serve` in a process of its own, and what clients send to it: for tests and benchmarks."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

import stepsight

SOURCE = Path(stepsight.__file__).parent.parent
MARKED = ("-m", "stepsight.testing.marked")
"""A model whose answers carry the mark of their picture; see `stepsight.testing.marked`."""
SERVE = ("-m", "stepsight", "serve")
"""The command itself."""


@dataclass
class Served:
    """A server under way. `written` is what it logs to, `books` the URL of a marked model's books."""

    process: subprocess.Popen[str]
    written: IO[str]
    url: str = ""
    books: str = ""

    @property
    def root(self) -> str:
        """Its address without `/v1`."""
        return self.url.removesuffix("/v1")

    def stop(self, seconds: float = 60) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=seconds)
        return self.process.returncode

    @property
    def log(self) -> str:
        """What it has logged so far; only while the block of `served` runs."""
        self.written.seek(0)
        return self.written.read()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, unless some are given as they are written."""
        with urllib.request.urlopen(f"{self.root}/metrics", timeout=60) as reply:
            lines = reply.read().decode().splitlines()
        found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        if not found:
            raise LookupError(f"there is no metric {name}")
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def book(self, name: str) -> float:
        """A number of a marked model's books: `rows`, `most_rows`, `samples`, `resident`, `cpu`."""
        with urllib.request.urlopen(self.books, timeout=60) as reply:
            return float(json.load(reply)[name])


@contextmanager
def served(command: Sequence[str], *options: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `python COMMAND --port 0 OPTIONS` while the block runs, with `env` on top of this environment.

    Raises:
        RuntimeError: it did not come up; holds what it wrote.
    """
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"} | dict(env or {})
    # Nobody reads its log while it runs, and a full pipe would stop it; a file never is full.
    with tempfile.TemporaryFile("w+") as written:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        server = Served(process, written)
        try:
            if tuple(command) == MARKED:
                server.books = process.stdout.readline().strip()
            server.url = process.stdout.readline().strip()
            if not server.url.startswith("http://"):
                process.wait(60)
                raise RuntimeError(server.log)
            yield server
        finally:
            if process.poll() is None:
                server.stop()
            process.stdout.close()


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until something holds; whether it came to that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return true()


def png(colour: tuple[int, int, int] | str = "red", size: tuple[int, int] = (32, 32)) -> bytes:
    """A picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    """A picture as clients send one."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def messages(picture: bytes | None = None, text: str = "How many are left?") -> list[dict[str, Any]]:
    """One turn of the user, as most clients send it."""
    shown = [] if picture is None else [{"type": "image_url", "image_url": {"url": data_url(picture)}}]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def posted(url: str, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of a POST by the standard library alone."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, dict(reply.headers), json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)
