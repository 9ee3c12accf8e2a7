"""A teacher of the drawn world behind an OpenAI-compatible endpoint: it answers from the truth, with a share of faults.

    POST /v1/chat/completions   a staged answer to a question of the world; `n`, `max_tokens` are kept, streams are not
    GET  /v1/models             one model, `world-teacher`
    GET  /injected              {"requests", "compared", "unknown", "injected": [Injected, ...]}: what went wrong on
                                purpose

The question is recognised by its picture's decoded pixels and its words in the first user message (`world.recall`); the
known answer in a teacher's prompt is not needed. Whether a question's reply is unsound, and how, depends on the seed
and the question alone, so every new conversation about it meets the same fault, unless the fault passes. A second
attempt inside a conversation (the reply quoted back, and what is wrong with it) is sound, unless the fault persists.
Statuses and slowness are drawn for every request: from the seed, the question, and how often it was asked before.

It is also a judge: asked whether two answers say the same, it says so. To all else it replies that it does not know
(`teacher_replies`), so that a probe of what the server can finds it in order. Neither ever goes wrong.
"""

from __future__ import annotations

import base64
import binascii
import io
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from PIL import Image

from stepsight.errors import InputError
from stepsight.jsonl import append_jsonl
from stepsight.pictures import FORMATS
from stepsight.records import Question, Record
from stepsight.seeds import derive_seed
from stepsight.serving.small_server import SmallServer, send
from stepsight.serving.teacher_replies import ignorance, verdict
from stepsight.stages import render
from stepsight.world.programs import Program, seen
from stepsight.world.recall import Recall
from stepsight.world.scene import Scene
from stepsight.world.teacher import teach
from stepsight.world.unsound import Reply, Unsound, spoil_reply
from stepsight.world.walks import walk

MODEL = "world-teacher"


@dataclass(frozen=True)
class Shares:
    """How much goes wrong: of questions (the first five; the first four exclude one another), and of requests.

    `persistent` is the share of unsound questions whose fault a second attempt does not mend, `passing` the share of
    those whose fault only the first conversation meets. `slow` requests wait `slow_seconds`; a 429 asks to wait
    `retry_after` seconds.
    """

    malformed: float = 0.1
    wrong: float = 0.1
    refusal: float = 0.1
    truncated: float = 0.0
    persistent: float = 0.0
    passing: float = 0.0
    status_429: float = 0.05
    status_500: float = 0.05
    slow: float = 0.0
    slow_seconds: float = 5.0
    retry_after: float = 1.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or max(self.persistent, self.passing, self.slow) > 1:
            raise InputError("a share must lie between 0 and 1", hint="check the options")
        for what, total in (
            ("malformed, wrong, refusal and truncated", self.malformed + self.wrong + self.refusal + self.truncated),
            ("status-429 and status-500", self.status_429 + self.status_500),
        ):
            if total > 1 + 1e-9:
                raise InputError(f"{what} add up to {total:g}", hint="give shares whose sum is 1 at most")


class Injected(Record):
    """One thing that went wrong on purpose.

    `request` counts the requests about the question, `attempt` the replies of this conversation, both from 1. `fault`
    is a way of going wrong (`world.unsound`), `429`, `500` or `slow`; a slow request may be unsound as well and is then
    listed twice.
    """

    question: str
    request: int
    attempt: int
    fault: str
    variant: str = ""


class TeacherServer(SmallServer):
    """The teacher, serving from a thread while the `with` block runs.

    Attributes:
        requests: how many questions of the world were asked, refusals by status included; `compared`: how many pairs
            of answers; `unknown`: how many others.
        injected: what went wrong on purpose, in the order in which it did.
    """

    def __init__(
        self, recall: Recall, shares: Shares | None = None, *, seed: int = 0, port: int = 0, log: Path | None = None
    ) -> None:
        """Bind the port.

        Args:
            recall: the questions it knows.
            shares: how much goes wrong.
            seed: decides what goes wrong, and how answers are worded.
            port: on 127.0.0.1; 0 takes a free one, see `url`.
            log: every `Injected` is added there, one a line, before its reply is sent.

        Raises:
            InputError: the port cannot be had.
        """
        super().__init__(port)
        self.recall, self.shares, self.seed, self.log = recall, shares or Shares(), seed, log
        self.requests = self.compared = self.unknown = 0
        self.injected: list[Injected] = []
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def listed(self, handler: BaseHTTPRequestHandler) -> None:
        """The model, or what was injected."""
        if handler.path == "/v1/models":
            return send(handler, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if handler.path in ("/injected", "/v1/injected"):
            with self._lock:
                rows = [one.model_dump() for one in self.injected]
                counts = {"requests": self.requests, "compared": self.compared, "unknown": self.unknown}
                return send(handler, 200, {**counts, "injected": rows})
        return send(handler, 404, {"error": {"message": "no such path"}})

    def posted(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
        """A staged answer, or what goes wrong."""
        try:
            self._answer(handler, payload)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    def _answer(self, handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
        try:
            picture, words, attempt = _asked(payload)
        except (LookupError, TypeError, ValueError, OSError) as error:
            return send(handler, 400, {"error": {"message": f"not a chat request: {error}"}})
        count = max(1, int(payload.get("n") or 1))
        question = None if picture is None else self.recall.find(picture, words)
        if question is None:
            found = verdict(words)
            with self._lock:
                self.compared += found is not None
                self.unknown += found is None
            return send(handler, 200, _completion([Reply(found or ignorance(picture))] * count, payload))
        with self._lock:
            self.requests += 1
            self._asked[question.id] += 1
            request = self._asked[question.id]
        luck = self._luck(question, "request", request)
        if luck.random() < self.shares.slow:
            self._note(question, request, attempt, "slow")
            time.sleep(self.shares.slow_seconds)
        status = self._status(luck.random())
        if status:
            self._note(question, request, attempt, str(status))
            wait = {"Retry-After": f"{self.shares.retry_after:g}"} if status == 429 else {}
            return send(handler, status, {"error": {"message": "injected"}}, wait)
        with self._lock:
            self._answered[question.id] += attempt == 1
            conversation = self._answered[question.id]
        how = self.fault_of(question, attempt, conversation)
        replies = [self._reply(question, attempt, place, how) for place in range(count)]
        if how is not None:
            self._note(question, request, attempt, how.value, replies[0].variant)
        return send(handler, 200, _completion(replies, payload))

    def fault_of(self, question: Question, attempt: int = 1, conversation: int = 1) -> Unsound | None:
        """How the reply to a question is unsound at an attempt of a conversation; None if it is sound."""
        luck = self._luck(question, "fault", 0)
        place, persists = luck.random(), luck.random() < self.shares.persistent
        passes = luck.random() < self.shares.passing
        if (attempt > 1 and not persists) or (conversation > 1 and passes):
            return None
        for how in Unsound:
            share = float(getattr(self.shares, how.value))
            if place < share:
                return how
            place -= share
        return None

    def _reply(self, question: Question, attempt: int, place: int, how: Unsound | None) -> Reply:
        rng = self._luck(question, "wording", 1000 * attempt + place)
        program = Program.from_dict(question.meta["program"])
        things = seen(Scene.from_dict(question.meta["scene"]))
        way = walk(program, things)
        stages = teach(rng, program, things, way, question.choices)
        if how is None:
            return Reply(render(stages))
        answer = question.answer or way.answer
        return spoil_reply(rng, how, stages, program=program, answer=answer, choices=question.choices)

    def _status(self, place: float) -> int:
        if place < self.shares.status_429:
            return 429
        return 500 if place < self.shares.status_429 + self.shares.status_500 else 0

    def _luck(self, question: Question, what: str, number: int) -> random.Random:
        return random.Random(derive_seed(self.seed, question.id, f"teacher {what}", number))

    def _note(self, question: Question, request: int, attempt: int, fault: str, variant: str = "") -> None:
        one = Injected(question=question.id, request=request, attempt=attempt, fault=fault, variant=variant)
        with self._lock:
            self.injected.append(one)
            if self.log is not None:
                append_jsonl(self.log, [one])


def _asked(payload: Mapping[str, Any]) -> tuple[Image.Image | None, str, int]:
    """Picture and words of the first user message, and which reply of the conversation is asked for, from 1."""
    messages = payload["messages"]
    first = next((message for message in messages if message["role"] == "user"), None)
    if first is None:
        raise ValueError("nobody asks anything")
    attempt = 1 + sum(message["role"] == "assistant" for message in messages)
    parts = first["content"]
    if isinstance(parts, str):
        return None, parts, attempt
    words = "\n".join(part["text"] for part in parts if part["type"] == "text")
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return (_picture(urls[0]) if urls else None), words, attempt


def _picture(url: str) -> Image.Image:
    try:
        data = base64.b64decode(url.partition("base64,")[2], validate=True)
    except binascii.Error as error:
        raise ValueError("the picture is no base64") from error
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        picture.load()
        return picture.copy()


def _completion(replies: list[Reply], payload: Mapping[str, Any]) -> dict[str, Any]:
    """The replies as the protocol has them; words, with the white space before them, are what it bills as tokens."""
    most = payload.get("max_completion_tokens") or payload.get("max_tokens")
    choices = []
    spent = 0
    for index, reply in enumerate(replies):
        tokens = re.findall(r"\s*\S+", reply.text)
        kept = tokens if most is None else tokens[: int(most)]
        spent += len(kept)
        reason = "length" if reply.cut or len(kept) < len(tokens) else "stop"
        message = {"role": "assistant", "content": "".join(kept)}
        choices.append({"index": index, "message": message, "finish_reason": reason})
    asked = sum(len(str(message["content"]).split()) for message in payload["messages"])
    usage = {"prompt_tokens": asked, "completion_tokens": spent, "total_tokens": asked + spent}
    return {
        "id": "chatcmpl-teacher",
        "object": "chat.completion",
        "model": MODEL,
        "choices": choices,
        "usage": usage,
    }
