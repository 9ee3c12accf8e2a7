"""A scoring endpoint over real HTTP that replies what it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = Mapping[str, Any] | bytes


@dataclass(frozen=True)
class Reply:
    """What one request for scores gets. `cut`: the connection ends after so many bytes."""

    status: int = 200
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def by_length(payload: dict[str, Any]) -> dict[str, Any]:
    """Scores that are the lengths of the answers."""
    return {"scores": [len(item["answer"]) for item in payload["items"]]}


class FakeEndpoint:
    """Serves from a thread while the `with` block runs. `replies` are used up first; then `score` replies."""

    def __init__(
        self,
        score: Callable[[dict[str, Any]], Body] = by_length,
        replies: Iterable[Reply] = (),
        info: Body | None = None,
        path: str = "/score",
        told: str = "/info",
    ) -> None:
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.replies = deque(replies)
        known = info if info is not None else {"protocol": 1, "name": "fake", "scale": "unbounded"}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                owner.headers.append(dict(self.headers))
                self.send(Reply(200, known) if self.path == told else Reply(404, {"error": "no such path"}))

            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.headers.append(dict(self.headers))
                if self.path != path:
                    return self.send(Reply(404, {"error": "no such path"}))
                owner.seen.append(payload)
                reply = owner.replies.popleft() if owner.replies else Reply()
                self.send(
                    reply if reply.body is not None else Reply(reply.status, score(payload), reply.headers, reply.cut)
                )

            def send(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
