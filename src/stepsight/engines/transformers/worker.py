"""The one thread that owns the model: takes what waits, fills prompts, decodes, answers."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

import torch

from stepsight.engines.transformers.batch import Batch, Row
from stepsight.engines.transformers.forward import Filled, Runner
from stepsight.engines.transformers.jobs import Job, SampleJob, ScoreJob
from stepsight.engines.transformers.prompts import Prompt, PromptEncoder
from stepsight.errors import EngineError, InputError, StepsightError
from stepsight.protocols import Completion, SampleResult, ScoreResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Part:
    """A sample job whose prompt is filled and whose seeds from `next` on have no row yet."""

    job: SampleJob
    filled: Filled
    next: int


class Worker:
    """Runs jobs one batch step after another. Jobs that arrive meanwhile join at the next step."""

    def __init__(self, runner: Runner, encoder: PromptEncoder, batch: Batch, *, threads: int | None) -> None:
        self._runner = runner
        self._encoder = encoder
        self._batch = batch
        self._threads = threads
        self._condition = threading.Condition()
        self._inbox: deque[Job] = deque()
        self._waiting: deque[SampleJob] = deque()
        self._parts: deque[_Part] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs together, so that they are seen together.

        Raises:
            EngineError: The engine is closed.
        """
        with self._condition:
            if self._closed:
                raise EngineError("the engine is closed")
            self._inbox.extend(jobs)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stepsight-transformers", daemon=True)
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        """Stop after the running step; what is not finished fails."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while (arrived := self._take()) is not None:
                try:
                    self._turn(arrived)
                except Exception as error:
                    _log.exception("a batch failed")
                    self._fail_all(arrived, error)
        self._fail_all([], EngineError("the engine was closed while working"))

    def _take(self) -> list[Job] | None:
        with self._condition:
            if not (self._inbox or self._busy or self._closed):
                self._batch.rest()
                self._condition.wait_for(lambda: self._inbox or self._closed)
            if self._closed:
                return None
            arrived = list(self._inbox)
            self._inbox.clear()
            return arrived

    @property
    def _busy(self) -> bool:
        return bool(self._batch.rows or self._waiting or self._parts)

    def _turn(self, arrived: list[Job]) -> None:
        self._waiting.extend(job for job in arrived if isinstance(job, SampleJob))
        self._score([job for job in arrived if isinstance(job, ScoreJob) and not job.over])
        self._admit()
        self._batch.step(self._finish)

    def _score(self, jobs: list[ScoreJob]) -> None:
        ready: list[tuple[ScoreJob, list[Prompt], list[list[tuple[int, ...]]]]] = []
        for job in jobs:
            try:
                prompts = [self._encoder.encode(request.turns, request.prefix) for request in job.requests]
                options = [[self._encoder.tokenise(text) for text in request.options] for request in job.requests]
                for prompt, texts in zip(prompts, options, strict=True):
                    if not all(texts):
                        raise InputError("an option has no tokens")
                    self._check(prompt, room=max(len(ids) for ids in texts))
            except StepsightError as error:
                job.reply.fail(error)
            else:
                ready.append((job, prompts, options))
        # All requests of all jobs run together, at most `max_rows` at a time.
        flat = [pair for _, prompts, options in ready for pair in zip(prompts, options, strict=True)]
        results: list[ScoreResult] = []
        for start in range(0, len(flat), self._runner.max_rows):
            chunk = flat[start : start + self._runner.max_rows]
            filled = self._runner.fill([prompt for prompt, _ in chunk])
            scores = self._runner.scores(filled, [texts for _, texts in chunk])
            for one, (_, texts), row in zip(filled, chunk, scores, strict=True):
                extra = sum(len(ids) - 1 for ids in texts)
                results.append(ScoreResult(tuple(row), computed=one.computed + extra, cached=one.cached))
        for job, prompts, _ in ready:
            job.reply.answer(results[: len(prompts)])
            del results[: len(prompts)]

    def _admit(self) -> None:
        chosen: list[tuple[SampleJob, Prompt]] = []
        room = self._batch.free - sum(len(part.job.request.seeds) - part.next for part in self._parts)
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
            chosen.append((job, prompt))
            room -= len(job.request.seeds)
        # In the queue before they are filled: if filling fails, the failure finds its jobs there.
        self._waiting.extendleft(job for job, _ in reversed(chosen))
        filled = self._runner.fill([prompt for _, prompt in chosen])
        for (job, _), one in zip(chosen, filled, strict=True):
            self._waiting.popleft()
            self._parts.append(_Part(job, one, 0))
        while self._parts and self._batch.free:
            part = self._parts.popleft()
            if part.job.over:
                continue
            end = min(len(part.job.request.seeds), part.next + self._batch.free)
            self._batch.join(part.job, part.filled, range(part.next, end))
            if end < len(part.job.request.seeds):
                self._parts.appendleft(_Part(part.job, part.filled, end))

    def _finish(self, row: Row, completion: Completion) -> None:
        job = row.job
        job.done[row.slot] = completion
        count = len(job.request.seeds)
        if len(job.done) == count:
            completions = tuple(job.done[slot] for slot in range(count))
            job.reply.answer(SampleResult(completions, row.filled.computed, row.filled.cached))

    def _check(self, prompt: Prompt, *, room: int) -> None:
        if len(prompt) + room > self._runner.context:
            raise InputError(
                f"the prompt has {len(prompt)} tokens; the model holds {self._runner.context}",
                hint="ask a shorter question or use a model with a longer context",
            )

    def _fail_all(self, arrived: list[Job], error: Exception) -> None:
        known = isinstance(error, StepsightError)
        shown = error if known else EngineError(f"the model failed: {error}", hint="see the log for the traceback")
        shown.__cause__ = None if known else error
        parts = [part.job for part in self._parts]
        with self._condition:
            late = list(self._inbox) if self._closed else []
        for job in [*arrived, *late, *self._waiting, *parts, *(row.job for row in self._batch.rows)]:
            if not job.over:
                job.reply.fail(shown)
        self._waiting.clear()
        self._parts.clear()
        self._batch.abandon()
        self._runner.release()
