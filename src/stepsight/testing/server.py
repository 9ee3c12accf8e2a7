"""A server that speaks the chat protocol over real HTTP, with the manners and the faults it is told to have.

Behind it stands the scripted engine, so whole searches run against it and give the texts of that engine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from PIL import Image

from stepsight.engines.openai.grammars import FORMS
from stepsight.engines.scripted import Say, ScriptedEngine, tokens_of
from stepsight.protocols import Completion, SampleRequest, SampleResult, Turn
from stepsight.records import Finish, Piece
from stepsight.serving.small_server import SmallServer, hang_up, send
from stepsight.testing.manners import Fault, Manners
from stepsight.testing.model import held, say, top
from stepsight.testing.streams import events_of
from stepsight.testing.wire import left_within, stream

_OURS = {"continue_final_message", "add_generation_prompt", "include_stop_str_in_output", *FORMS}


class FakeServer(SmallServer):
    """Serves from a thread while the `with` block runs; `faults` are used up one per request for a completion.

    Attributes:
        seen: the JSON of all requests for completions; `headers`: their headers.
        gone: how many clients went away while they were being served; `connections`: how many connected at all.
        most_at_once: the most requests that were under way together.
        bills: the `usage` of every reply that was written, whether or not it reached anybody.
        dead: whether it died of a seed.
    """

    def __init__(
        self, manners: Manners | None = None, faults: Iterable[Fault] = (), *, write: Say = say, port: int = 0
    ) -> None:
        """Bind the port.

        Args:
            manners: good ones unless given.
            faults: one for each request for a completion, in order; an iterator may be endless.
            write: what the model behind it says; staged answers, and answers to a probe, unless given.
            port: on 127.0.0.1; 0 takes a free one, see `url`.
        """
        super().__init__(port)
        self.manners = manners or Manners()
        endless = not isinstance(faults, Sequence)
        self.faults = deque(() if endless else faults)
        self._more_faults = iter(faults if endless else ())
        self.engine = ScriptedEngine(write)
        self._write = write
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bills: list[dict[str, Any]] = []
        self.gone = 0
        self.most_at_once = 0
        self.dead = False
        self._at_once = 0
        self._slots: Counter[str] = Counter()
        self._first_picture: dict[str, Path] = {}
        self._lock = threading.Lock()

    # What clients ask for.

    def listed(self, handler: BaseHTTPRequestHandler) -> None:
        """The models."""
        if self._locked_out(handler):
            return
        if handler.path != "/v1/models":
            return send(handler, 404, {"error": {"message": "no such path"}})
        rows = [{"id": name, "object": "model", "max_model_len": self.manners.context} for name in self.manners.models]
        return send(handler, 200, {"object": "list", "data": rows})

    def posted(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
        """A completion, or what goes wrong with it."""
        with self._lock:
            self.seen.append(payload)
            self.headers.append(dict(handler.headers))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            fault = self.faults.popleft() if self.faults else next(self._more_faults, Fault())
        try:
            self._answer(handler, payload, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.gone += 1
            handler.close_connection = True
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any], fault: Fault) -> None:
        if fault.worked:
            with self._lock:
                self._reply(_complete(payload))
        if fault.wait and left_within(handler.connection, fault):
            raise BrokenPipeError
        if self._locked_out(handler):
            return
        if fault.status != 200:
            return send(handler, fault.status, {"error": {"message": fault.message}}, fault.headers)
        if self.dead or fault.cut == 0:
            return hang_up(handler)
        refusal = self._refused(payload)
        if refusal is not None:
            return send(handler, refusal[0], {"error": {"message": refusal[1]}})
        if "seed" in payload and self.manners.seeds == "deadly":
            self.dead = True
            return hang_up(handler)
        with self._lock:
            reply = self._reply(_complete(payload))
        if payload.get("stream") and self.manners.streams != "never" and fault.body is None:
            billed = bool((payload.get("stream_options") or {}).get("include_usage"))
            return stream(handler, events_of(reply, usage=billed and self.manners.streams == "whole"), fault)
        body = json.dumps(reply).encode() if fault.body is None else fault.body
        return send(handler, 200, body[: len(body) // 2] if fault.truncated else body, cut=fault.cut)

    def _locked_out(self, handler: BaseHTTPRequestHandler) -> bool:
        given = handler.headers.get("Authorization", "")
        if self.manners.key and given != f"Bearer {self.manners.key}":
            send(handler, 401, {"error": {"message": f"Incorrect API key provided: {given}"}})
            return True
        return False

    def _refused(self, payload: dict[str, Any]) -> tuple[int, str] | None:
        manners = self.manners
        if payload["model"] not in manners.models:
            return 404, f"The model `{payload['model']}` does not exist."
        if manners.strict and (unknown := _OURS & payload.keys()):
            return 400, f"Unrecognized request argument supplied: {sorted(unknown)[0]}"
        if payload.get("top_logprobs", 0) > manners.logprobs and manners.logprobs:
            return 400, f"top_logprobs must be at most {manners.logprobs}"
        parts = [
            part
            for message in payload["messages"]
            if isinstance(message["content"], list)
            for part in message["content"]
        ]
        if not manners.images and any(part["type"] == "image_url" for part in parts):
            return 400, "this is not a multimodal model"
        words = sum(len(tokens_of(part["text"])) for part in parts if part["type"] == "text")
        if words + payload.get("max_tokens", 0) > manners.context:
            return 400, f"This model's maximum context length is {manners.context} tokens. However, you requested more."
        return None

    # How it answers.

    def _reply(self, payload: dict[str, Any]) -> dict[str, Any]:
        manners = self.manners
        request = self._request(payload)
        seeds = request.seeds
        if "seed" not in payload or manners.seeds == "ignored":
            # A model without seeds says something else each time it is asked the same.
            key = json.dumps([payload["messages"], payload["max_tokens"], payload["temperature"] > 0])
            first = self._slots[key] if payload["temperature"] else 0
            self._slots[key] += len(seeds)
            seeds = tuple(range(first, first + len(seeds)))
        result = self.sampled(request, seeds)
        choices = [self._choice(index, one, request, payload) for index, one in enumerate(result.completions)]
        prompt = result.computed + result.cached
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": sum(one.tokens for one in result.completions),
        }
        if manners.cache and result.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": result.cached}
        self.bills.append(usage)
        return {"id": "chatcmpl-1", "object": "chat.completion", "choices": choices, "usage": usage}

    def sampled(self, request: SampleRequest, seeds: Sequence[int]) -> SampleResult:
        """What the model behind the server writes; a test may put another one there."""
        engine = ScriptedEngine(lambda asked, slot, seed: held(asked, self._write(asked, seeds[slot], seeds[slot])))
        engine._seen = self.engine._seen
        return asyncio.run(engine.sample(request))

    def picture(self, url: str) -> Path:
        """A name for a picture that says its colour and tells it from all others."""
        data = base64.b64decode(url.partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            # Pillow's type for a pixel does not know that this picture is RGB.
            red, _, blue = picture.getpixel((picture.width - 1, picture.height - 1))  # type: ignore[misc]
        return Path(f"{'red' if red > blue else 'blue'}-{hashlib.sha256(data).hexdigest()[:12]}.png")

    def _request(self, payload: dict[str, Any]) -> SampleRequest:
        messages = list(payload["messages"])
        prefix: tuple[Piece, ...] = ()
        if messages[-1]["role"] == "assistant":
            begun = messages.pop()["content"]
            if self.manners.prefix and payload.get("continue_final_message"):
                prefix = (Piece(text=begun),)
        stop = payload.get("stop") or []
        count = min(payload.get("n", 1), self.manners.n)
        return SampleRequest(
            turns=tuple(self._turn(message) for message in messages),
            seeds=(payload["seed"],) if "seed" in payload else tuple(range(count)),
            prefix=prefix,
            stop=() if self.manners.stops == "ignored" else (stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=payload["max_tokens"],
            temperature=payload["temperature"],
            staged=self._held_by(payload),
        )

    def _held_by(self, payload: dict[str, Any]) -> bool:
        key = self.manners.grammar
        return bool(key) and key in payload and payload[key] == FORMS[key]

    def _turn(self, message: dict[str, Any]) -> Turn:
        content = message["content"]
        if not isinstance(content, list):
            return Turn(message["role"], content or "")
        text = "".join(part["text"] for part in content if part["type"] == "text")
        images = tuple(self.picture(part["image_url"]["url"]) for part in content if part["type"] == "image_url")
        if self.manners.blind and images:
            images = (self._first_picture.setdefault(text, images[0]),)
        return Turn(message["role"], text, images)

    def _choice(self, index: int, one: Completion, request: SampleRequest, payload: dict[str, Any]) -> dict[str, Any]:
        manners = self.manners
        text, ended = one.piece.text, next((stop for stop in request.stop if one.piece.text.endswith(stop)), None)
        included = manners.stops == "included" and payload.get("include_stop_str_in_output")
        steps = tokens_of(text)
        if ended and not included:
            text = text.removesuffix(ended)
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": None if manners.thinks else text},
            "finish_reason": manners.finish or ("length" if one.finish is Finish.LENGTH else "stop"),
        }
        if manners.stops in ("included", "named"):
            choice["stop_reason"] = ended
        if payload.get("logprobs") and manners.logprobs:
            heat = max(payload["temperature"], 0.1) if manners.tempered else 1.0
            listed = top(request) if payload.get("top_logprobs") else {}
            rows = [{"token": token, "logprob": value / heat} for token, value in listed.items()]
            content = [{"token": step, "logprob": -0.5 / heat, "top_logprobs": rows} for step in steps]
            if rows:
                content[0] |= max(rows, key=lambda row: float(str(row["logprob"])))
            choice["logprobs"] = {"content": content}
        return choice


def _complete(payload: dict[str, Any]) -> dict[str, Any]:
    """A request with what clients may leave out."""
    most = payload.get("max_completion_tokens") or 1024
    return {**payload, "max_tokens": payload.get("max_tokens") or most, "temperature": payload.get("temperature", 1.0)}
