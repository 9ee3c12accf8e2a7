"""The one thread that owns the model: takes what waits, fills prompts, decodes, answers."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

import torch

from stepsight.engines.transformers.batch import Batch
from stepsight.engines.transformers.filling import Filled, Filler, Found
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.jobs import Job, SampleJob, ScoreJob
from stepsight.engines.transformers.prompts import Prompt, PromptEncoder
from stepsight.engines.transformers.rows import Lane, Row
from stepsight.engines.transformers.thread import OneThread
from stepsight.errors import EngineError, InputError, StepsightError, TooLongError
from stepsight.protocols import Completion, SampleResult, ScoreResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Part:
    """A sample job whose prompt is filled and whose seeds from `next` on have no row yet."""

    job: SampleJob
    filled: Filled
    next: int


@dataclass(eq=False)
class _Filling:
    """Prompts that are being filled for jobs of one kind; `found` has those that are ready, by place."""

    work: Iterator[Found]
    jobs: list[Job]
    prompts: list[Prompt]
    lanes: dict[int, Lane]
    found: dict[int, Filled] = field(default_factory=dict)


class Worker:
    """Runs jobs one batch step after another. Jobs that arrive meanwhile join at the next step.

    Between two steps at most about `piece` tokens of prompts are filled, so that rows which decode do not starve.
    """

    def __init__(
        self,
        thread: OneThread,
        runner: Runner,
        filler: Filler,
        encoder: PromptEncoder,
        batch: Batch,
        *,
        threads: int | None,
        piece: int,
    ) -> None:
        self._thread = thread
        self._runner = runner
        self._filler = filler
        self._encoder = encoder
        self._batch = batch
        self._threads = threads
        self._piece = piece
        self._lock = threading.Lock()
        self._inbox: deque[Job] = deque()
        self._scoring: deque[ScoreJob] = deque()
        self._waiting: deque[SampleJob] = deque()
        self._parts: deque[_Part] = deque()
        self._filling: _Filling | None = None
        self._closed = False
        self._under_way = False
        self._running: Future[None] | None = None

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs together, so that they are seen together.

        Raises:
            EngineError: The engine is closed.
        """
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed")
            self._inbox.extend(jobs)
            if not self._under_way:
                self._under_way = True
                self._running = self._thread.start(self._next_turn)

    def close(self) -> None:
        """Stop after the running step; what is not finished fails."""
        with self._lock:
            self._closed = True
            running = self._running
        self._thread.end()
        if running is not None and not self._thread.inside:
            wait([running])

    def _next_turn(self) -> None:
        """One turn, and then whatever else the thread has to do: it may serve other workers, who take turns with it."""
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        with self._lock:
            closed, arrived = self._closed, list(self._inbox)
            self._inbox.clear()
        if not closed:
            with torch.inference_mode():
                try:
                    self._turn(arrived)
                except Exception as error:
                    _log.exception("a batch failed")
                    self._fail_all(arrived, error)
            arrived = []
        with self._lock:
            closed = self._closed
            self._under_way = not closed and bool(self._inbox or self._busy)
            if self._under_way:
                self._running = self._thread.start(self._next_turn)
        if closed:
            self._fail_all(arrived, EngineError("the engine was closed while working"))
        elif not self._under_way:
            self._batch.rest()

    @property
    def _busy(self) -> bool:
        batch = self._batch
        return bool(
            batch.lanes or batch.parked or self._waiting or self._scoring or self._parts or self._filling is not None
        )

    def _turn(self, arrived: list[Job]) -> None:
        for job in arrived:
            if isinstance(job, ScoreJob):
                self._scoring.append(job)
            else:
                self._waiting.append(job)
        self._fill()
        self._seat()
        self._batch.step(self._finish)

    def _fill(self) -> None:
        """One piece of filling, or all of it while nobody decodes. Judges come first: a whole search waits for them."""
        while True:
            if self._filling is None:
                self._filling = self._begin_scores() or self._begin_samples()
            if self._filling is None:
                return
            found = next(self._filling.work, None)
            if found is None:
                done, self._filling = self._filling, None
                self._answer_scores(done)
            else:
                self._filling.found |= dict(found)
                self._take_samples(self._filling, [place for place, _ in found])
            if self._batch.lanes or self._parts:
                return

    def _begin(self, jobs: list[Job], prompts: list[Prompt], lanes: dict[int, Lane]) -> _Filling:
        piece = self._piece if self._batch.lanes else None
        return _Filling(self._filler.filling(prompts, piece=piece), jobs, prompts, lanes)

    def _begin_scores(self) -> _Filling | None:
        jobs: list[Job] = []
        prompts: list[Prompt] = []
        while self._scoring:
            job = self._scoring.popleft()
            if job.over:
                continue
            try:
                encoded = [self._encoder.encode(request.turns, request.prefix) for request in job.requests]
                job.options = [[self._encoder.tokenise(text) for text in request.options] for request in job.requests]
                for prompt, texts in zip(encoded, job.options, strict=True):
                    if not all(texts):
                        raise InputError("an option has no tokens")
                    self._check(prompt, room=max(len(ids) for ids in texts))
            except StepsightError as error:
                job.reply.fail(error)
            else:
                jobs.append(job)
                prompts += encoded
        return self._begin(jobs, prompts, {}) if jobs else None

    def _answer_scores(self, filling: _Filling) -> None:
        """Answer all score jobs of a filling; the rest of options of several tokens runs in one batch."""
        jobs = [job for job in filling.jobs if isinstance(job, ScoreJob)]
        if not jobs:
            return
        filled = [filling.found[place] for place in range(len(filling.prompts))]
        options = [texts for job in jobs for texts in job.options]
        results: list[ScoreResult] = []
        for one, texts, row in zip(filled, options, self._filler.scores(filled, options), strict=True):
            extra = sum(len(ids) - 1 for ids in texts)
            results.append(ScoreResult(tuple(row), computed=one.computed + extra, cached=one.cached))
        for job in jobs:
            job.reply.answer(results[: len(job.requests)])
            del results[: len(job.requests)]

    def _begin_samples(self) -> _Filling | None:
        """Fill for parked lanes that have room again, then for jobs that wait, as far as rows are free."""
        batch = self._batch
        jobs: list[Job] = []
        prompts: list[Prompt] = []
        lanes: dict[int, Lane] = {}
        room = batch.max_rows - batch.rows - sum(len(part.job.request.seeds) - part.next for part in self._parts)
        back = 0
        while batch.parked and room > 0:
            lane = batch.parked[0]
            back += len(lane.rows)
            if not lane.job.over and batch.room(lane.written, back) < back and (lanes or batch.lanes):
                return self._begin(jobs, prompts, lanes) if lanes else None
            batch.parked.popleft()
            if lane.job.over:
                continue
            lanes[len(prompts)] = lane
            prompts.append(lane.written)
            jobs.append(lane.job)
            room -= len(lane.rows)
        while self._waiting and room > 0:
            job = self._waiting.popleft()
            if job.over:
                continue
            try:
                prompt = self._encoder.encode(job.request.turns, job.request.prefix)
                self._check(prompt, room=1)
            except StepsightError as error:
                job.reply.fail(error)
                continue
            jobs.append(job)
            prompts.append(prompt)
            room -= len(job.request.seeds)
        return self._begin(jobs, prompts, lanes) if jobs else None

    def _take_samples(self, filling: _Filling, places: list[int]) -> None:
        for place in places:
            job = filling.jobs[place] if place < len(filling.jobs) else None
            if not isinstance(job, SampleJob):
                return
            if place in filling.lanes:
                self._batch.rejoin(filling.lanes.pop(place), filling.found[place])
            else:
                self._parts.append(_Part(job, filling.found[place], 0))

    def _seat(self) -> None:
        while self._parts:
            part = self._parts[0]
            left = len(part.job.request.seeds) - part.next
            count = 0 if part.job.over else self._batch.room(part.filled.prompt, left)
            if not part.job.over and not count:
                return
            self._parts.popleft()
            if part.job.over:
                continue
            self._batch.join(part.job, part.filled, range(part.next, part.next + count))
            if count < left:
                self._parts.appendleft(_Part(part.job, part.filled, part.next + count))

    def _finish(self, row: Row, completion: Completion) -> None:
        job = row.job
        job.done[row.slot] = completion
        count = len(job.request.seeds)
        if len(job.done) == count:
            completions = tuple(job.done[slot] for slot in range(count))
            job.reply.answer(SampleResult(completions, row.filled.computed, row.filled.cached, len(row.filled.prompt)))

    def _check(self, prompt: Prompt, *, room: int) -> None:
        if len(prompt) + room > self._runner.context:
            raise TooLongError(
                f"the prompt has {len(prompt)} tokens; the model holds {self._runner.context}",
                hint="ask a shorter question or use a model with a longer context",
            )

    def _fail_all(self, arrived: list[Job], error: Exception) -> None:
        known = isinstance(error, StepsightError)
        shown = error if known else EngineError(f"the model failed: {error}", hint="see the log for the traceback")
        shown.__cause__ = None if known else error
        parts = [part.job for part in self._parts]
        filling = [] if self._filling is None else self._filling.jobs
        lanes = [lane.job for lane in (*self._batch.lanes, *self._batch.parked)]
        with self._lock:
            late = list(self._inbox) if self._closed else []
        for job in [*arrived, *late, *self._scoring, *self._waiting, *filling, *parts, *lanes]:
            if not job.over:
                job.reply.fail(shown)
        self._filling = None
        self._scoring.clear()
        self._waiting.clear()
        self._parts.clear()
        self._batch.abandon()
        self._filler.release()
