"""Real server processes for tests, and what is sent to them."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import stepsight

SOURCE = Path(stepsight.__file__).parent.parent
MARKED = ("-m", "stepsight.testing.marked")
SERVE = ("-m", "stepsight", "serve")


@dataclass
class Served:
    """A server under way. `books` is the URL of a marked model's books; `log` gets what it wrote when it has ended."""

    process: subprocess.Popen[str]
    url: str
    books: str = ""
    log: str = ""

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    def stop(self, seconds: float = 60) -> int:
        """End it, and keep its log; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, self.log = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = urllib.request.urlopen(f"{self.root}/metrics", timeout=20).read().decode()
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        assert lines, f"there is no metric {name}"
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def book(self, name: str) -> int:
        with urllib.request.urlopen(self.books, timeout=20) as reply:
            return int(json.load(reply)[name])


@contextmanager
def served(command: Sequence[str], *options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """Run `python COMMAND --port 0 OPTIONS` while the block runs."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"} | (env or {})
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    server = Served(process, "")
    try:
        if command == MARKED:
            server.books = process.stdout.readline().strip()
        server.url = process.stdout.readline().strip()
        assert server.url.startswith("http://"), process.communicate(timeout=30)[1]
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until something holds; whether it came to that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return true()


def png(colour: tuple[int, int, int] | str = "red", size: tuple[int, int] = (32, 32)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def messages(picture: bytes | None = None, text: str = "How many are left?") -> list[dict[str, Any]]:
    """One turn of the user, as most clients send it."""
    shown = [] if picture is None else [{"type": "image_url", "image_url": {"url": data_url(picture)}}]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def posted(url: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of a POST by the standard library alone."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, dict(reply.headers), json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)
