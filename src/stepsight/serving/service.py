"""What a server does, apart from HTTP: takes a request's body, and answers it, in one go or as a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from stepsight.api import notes_on
from stepsight.assembly import SearchChoice
from stepsight.errors import EngineError, StepsightError
from stepsight.protocols import SearchSettings
from stepsight.records import Finish, Trace
from stepsight.search.constants import with_constants
from stepsight.serving.chat_replies import FIELDS, Replies, Report, public_trace
from stepsight.serving.chat_requests import ChatRequest
from stepsight.serving.conversations import Asked, Reader
from stepsight.serving.kept_traces import TraceShelf, kept_trace
from stepsight.serving.limits import Limits
from stepsight.serving.methods import Method, method_name
from stepsight.serving.metrics import Metrics
from stepsight.serving.picture_shelf import Lease, PictureShelf
from stepsight.serving.refusals import Refused, malformed, refusal_of
from stepsight.serving.remote_pictures import RemotePictures
from stepsight.serving.searching import Counted, Searching
from stepsight.serving.served import Catalogue, ServedModel
from stepsight.serving.turnstile import Turnstile


@dataclass(frozen=True)
class Job:
    """A request that was read and found good."""

    request: ChatRequest
    served: ServedModel
    plan: SearchChoice
    asked: Asked
    replies: Replies
    arrived: float

    @property
    def private(self) -> dict[str, str]:
        """Texts that stay here, and what clients read instead."""
        hidden = {str(path): "the picture" for path in self.asked.question.images}
        return {**hidden, self.served.model.engine.name: self.served.name, self.asked.question.id: "of the request"}


@dataclass
class Service:
    """The models of a server and all that its requests share.

    `reasoning_field` names what the reasoning is called, see `chat_replies.FIELDS`; `passes_system`: messages of the
    system go to the models.
    """

    catalogue: Catalogue
    limits: Limits = field(default_factory=Limits)
    remote: RemotePictures = field(default_factory=RemotePictures)
    reasoning_field: str = "reasoning_content"
    passes_system: bool = False

    def __post_init__(self) -> None:
        self.shelf = PictureShelf(self.limits)
        self.traces = TraceShelf()
        self.turnstile = Turnstile(self.limits.searches, self.limits.queue, self.limits.queue_seconds)
        self.metrics = Metrics(lambda: self.turnstile.running, lambda: self.turnstile.waiting)
        self._reader = Reader(self.limits, self.shelf, self.remote, self.passes_system)

    async def aclose(self) -> None:
        """Let go of everything."""
        for served in self.catalogue.models.values():
            await served.model.aclose()
        self.shelf.close()

    async def read(self, body: bytes, lease: Lease) -> Job:
        """Read a request.

        Raises:
            Refused: it cannot be served.
        """
        arrived = time.perf_counter()
        try:
            request = ChatRequest.model_validate_json(body)
        except ValidationError as error:
            raise malformed(error) from None
        request.check_supported()
        try:
            served, named = self.catalogue.find(request.model)
        except LookupError as error:
            raise Refused(404, str(error.args[0]), "model_not_found", "model") from None
        except StepsightError as error:
            raise _about("model", error) from None
        try:
            method = request.method(named)
            plan = served.planned(method)
            plan = replace(plan, settings=self._settings(request, method, plan.settings))
            self.limits.check_search(plan)
        except StepsightError as error:
            raise _about("search", error) from None
        try:
            asked = await self._reader.read(request, lease)
        except StepsightError as error:
            raise _about("messages", error) from None
        replies = Replies(
            request.model,
            FIELDS[self.reasoning_field],
            whole=request.spec.content == "whole",
            usage=request.wants_usage,
        )
        # The messages may hold pictures as text; they are of no use any more, and the search may be long.
        light = request.model_copy(update={"messages": []})
        return Job(light, served, plan, asked, replies, arrived)

    def _settings(self, request: ChatRequest, method: Method, settings: SearchSettings) -> SearchSettings:
        spec, most = request.spec, request.most_tokens
        settings = with_constants(settings, spec.constants)
        # What stands in the method counts: benchmark harnesses send a temperature of 0 whether one wants it or not.
        named = request.temperature if method.temperature is None else None
        return replace(
            settings,
            temperature=settings.temperature if named is None else named,
            top_p=settings.top_p if request.top_p is None else request.top_p,
            seed=settings.seed if request.seed is None else request.seed,
            survivors=settings.survivors if spec.survivors is None else spec.survivors,
            greedy_first=settings.greedy_first if spec.greedy_first is None else spec.greedy_first,
            answer_tokens=min(self.limits.answer_tokens, most or self.limits.answer_tokens),
        )

    # Answers.

    @asynccontextmanager
    async def under_way(self, job: Job) -> AsyncIterator[Searching]:
        """The search of a request, when there is room for it, until the block ends.

        Raises:
            Refused: there is no room.
            StepsightError: the judge cannot be had.
        """
        async with self.turnstile.passage():
            with self._counting(job):
                judge = await job.served.judge(job.plan)
                engine = Counted(job.served.model.engine)
                yield Searching(job.asked.question, engine, judge, job.plan, self.limits.search_seconds)

    async def answer(self, job: Job) -> dict[str, Any]:
        """The whole reply.

        Raises:
            Refused: there is no room, or the search failed.
        """
        try:
            async with self.under_way(job) as searching:
                trace = await searching.run()
                self.ended(trace)
            report = await self.report(job, trace)
        except (StepsightError, TimeoutError) as error:
            raise refusal_of(error, job.private) from error
        return job.replies.completion(trace, searching.engine.spent, report)

    def ended(self, trace: Trace) -> None:
        """Look at what came of a search, and count it.

        Raises:
            EngineError: the model ended the answer with an error.
        """
        if trace.chosen and trace.candidates[trace.chosen[-1]].finish is Finish.ERROR:
            raise EngineError("the model ended its answer with an error")
        self.metrics.done(trace)

    async def report(self, job: Job, trace: Trace) -> Report:
        """What is said beside the answer; keeps the trace if that was asked for."""
        spec, model = job.request.spec, job.served.model
        drawn = all(picture.drawn for picture in job.asked.pictures)
        name = ""
        if spec.keep:
            name = self.traces.keep(await asyncio.to_thread(kept_trace, trace, job.served.name))
        return Report(
            method_name(job.plan),
            (*job.asked.notes, *notes_on(model, job.plan, drawn=drawn), *_on_heat(job.plan)),
            job.request.ignored,
            name,
            public_trace(trace, job.served.name) if spec.trace else None,
        )

    @contextmanager
    def _counting(self, job: Job) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self.metrics.stopped(job.plan.search, "cancelled")
            raise
        except Exception:
            self.metrics.stopped(job.plan.search, "failed")
            raise


def _about(param: str, error: StepsightError) -> Refused:
    refused = refusal_of(error, {})
    return replace(refused, param=refused.param or param)


def _on_heat(plan: SearchChoice) -> tuple[str, ...]:
    if plan.single or plan.settings.temperature > 0:
        return ()
    return (
        "at temperature 0 all candidates are the same: name a temperature in the method, such as stage-beam:4:t0.6",
    )
