"""A reply that is streamed while the search runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stepsight.errors import StepsightError
from stepsight.records import Trace
from stepsight.serving.chat_replies import DONE, WAITING, sse, was_cut
from stepsight.serving.refusals import refusal_of
from stepsight.serving.releasing import Release
from stepsight.serving.searching import GoneError, Searching, while_connected
from stepsight.serving.service import Job, Service

_WAITING_SECONDS = 10.0
"""After so long without a word a stream says that it is still there."""
_SEND_SECONDS = 60.0
"""A client that does not read for so long is taken to be gone."""


class ChatStream(Response):
    """The chunks of one answer: text as it becomes final, events for those who asked for them, the reason it ended.

    Until the search begins, what is wrong is raised and becomes a status; afterwards it is an event with an `error`.
    """

    media_type = "text/event-stream"

    def __init__(self, service: Service, job: Job, held: ExitStack) -> None:
        """Take what to answer, and what to let go of afterwards."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._service = service
        self._job = job
        self._held = held
        self._release = Release(job.plan)
        self._speaker = job.replies.speaker()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        with self._held:
            await while_connected(self._answer(send), receive)

    async def _answer(self, send: Send) -> None:
        job, service = self._job, self._service
        began = False
        try:
            async with service.under_way(job) as searching:
                await _patiently(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                began = True
                await self._send(send, job.replies.begun())
                trace = await self._follow(searching, send)
                service.ended(trace)
            said = self._say(self._release.finish(trace))
            said += job.replies.delta(self._speaker.finish(cut=was_cut(trace)))
            report = await service.report(job, trace)
            await self._send(send, said + job.replies.ended(trace, searching.engine.spent, report))
        except (StepsightError, TimeoutError) as error:
            refused = refusal_of(error, job.private)
            if not began:
                raise refused from error
            await self._send(send, sse(refused.body) + DONE)
        await _patiently(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, searching: Searching, send: Send) -> Trace:
        """Send what happens until the search is over."""
        job = self._job
        kinds: set[str] = {*job.request.events, "stage_chosen"}
        if self._release.pace == "tokens":
            kinds.add("text")
        async with aclosing(searching.events(frozenset(kinds), _WAITING_SECONDS)) as events:
            async for event in events:
                if isinstance(event, Trace):
                    return event
                if event is None:
                    await self._send(send, WAITING)
                    continue
                told = job.replies.event(event) if event.kind in job.request.events else b""
                if told := told + self._say(self._release.take(event)):
                    await self._send(send, told)
        raise AssertionError("a search ends with its trace")

    def _say(self, text: str) -> bytes:
        if text and self._release.told == text:
            self._service.metrics.first_stage(self._job.plan.search, time.perf_counter() - self._job.arrived)
        return self._job.replies.delta(self._speaker.feed(text))

    async def _send(self, send: Send, data: bytes) -> None:
        if data:
            await _patiently(send, {"type": "http.response.body", "body": data, "more_body": True})


async def _patiently(send: Send, message: dict[str, object]) -> None:
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await send(message)
    except (TimeoutError, OSError):
        raise GoneError from None
