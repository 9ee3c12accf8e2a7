"""The protocol of `stepsight.rewards.endpoint` over HTTP, for one model: GET /info, POST /score."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Item = dict[str, Any]

PROTOCOL = 1
LARGEST_BODY = 512 << 20


def read_items(body: Any) -> list[Item | str]:
    """The answers to be scored, pictures decoded; of an item that cannot be scored, what is wrong with it.

    Raises:
        ValueError: the request is not of the protocol.
    """
    if not isinstance(body, dict) or not isinstance(body.get("items"), list):
        raise ValueError('a request is {"items": [...]}')
    return [read_item(item) for item in body["items"]]


def read_item(item: Any) -> Item | str:
    """One answer, or what is wrong with it."""
    from PIL import Image

    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("question", "answer")):
        return "an item needs the texts `question` and `answer`"
    images = []
    for url in item.get("images", ()):
        try:
            data = base64.b64decode(url.partition("base64,")[2], validate=True)
            images.append(Image.open(io.BytesIO(data)).convert("RGB"))
        except Exception as error:  # broken bytes make decoders raise almost anything
            return f"a picture cannot be read: {error}"
    return {**item, "images": images}


def scored(model: Any, items: list[Item | str]) -> dict[str, Any]:
    """The reply: a score or {"error": text} per item, in order, and the tokens computed for each; 0 if not known.

    If a batch fails its items are tried one by one, so that one answer does not take others with it.
    """
    sound = [item for item in items if isinstance(item, dict)]
    try:
        results = model.score(sound) if sound else []
    except Exception as error:
        traceback.print_exc()
        results = []
        for item in sound:
            try:
                results += model.score([item]) if len(sound) > 1 else [f"{type(error).__name__}: {error}"]
            except Exception as single:
                results.append(f"{type(single).__name__}: {single}")
    left = iter(results)
    replies = [item if isinstance(item, str) else finite(next(left)) for item in items]
    return {
        "scores": [{"error": one} if isinstance(one, str) else one[0] for one in replies],
        "tokens": [0 if isinstance(one, str) else one[1] for one in replies],
    }


def finite(result: Any) -> Any:
    """The result; in its place what is wrong, if the score is no number that can be sent or compared."""
    return f"the score is {result[0]}" if isinstance(result, tuple) and not math.isfinite(result[0]) else result


def serve(model: Any, name: str, host: str, port: int) -> ThreadingHTTPServer:
    """A server for `model`, which is asked by one thread at a time."""
    lock = threading.Lock()
    info = {"protocol": PROTOCOL, "name": name, "scale": model.scale}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.reply(200, info) if self.path == "/info" else self.reply(404, {"error": "ask /info or /score"})

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > LARGEST_BODY:
                self.close_connection = True
                return self.reply(
                    413, {"error": f"a request may have {LARGEST_BODY} bytes; send fewer answers at once"}
                )
            body = self.rfile.read(size)
            if self.path != "/score":
                return self.reply(404, {"error": "ask /info or /score"})
            try:
                items = read_items(json.loads(body))
            except ValueError as error:
                return self.reply(400, {"error": str(error)})
            with lock:
                found = scored(model, items)
            self.reply(200, found)

        def reply(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)
