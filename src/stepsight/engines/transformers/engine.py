"""The engine: asyncio in front, one worker thread behind.

    tasks -> jobs -> worker thread -> prompts -> prefix store + ragged forward -> batch of rows -> completions

Many tasks may await it at once; what arrives together runs together. Everything below this file belongs to the
worker thread, so no lock guards the model.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from stepsight.engines.placement import MAX_ROWS, Placement, check_bounds, check_sharing
from stepsight.engines.transformers.batch import Batch
from stepsight.engines.transformers.detokenising import Detokenizer
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.filling import Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.jobs import Job, SampleJob, ScoreJob
from stepsight.engines.transformers.loading import check_processor, load_in_thread
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import PrefixStore
from stepsight.engines.transformers.prompts import PromptEncoder
from stepsight.engines.transformers.room import promise, room_for_rows
from stepsight.engines.transformers.thread import OneThread
from stepsight.engines.transformers.worker import Worker
from stepsight.engines.waiting import Reply
from stepsight.errors import InputError
from stepsight.protocols import Capabilities, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult

_GIGABYTE = 2**30


_WORTH_SHARING = 10_000_000
"""Parameters of a model from which rows share (benchmarks/sharing.py): pico, of 5 million, is slower with it where one
question is answered at a time; from 18 million on it gains far more behind long prompts than it loses behind short."""


_DRAFT_TOKENS = 16
"""Over how many tokens a step may run with guesses; so many take a CPU little longer than one (docs/performance.md)."""


class TransformersEngine:
    """Runs a transformers image-text-to-text model in this process.

    The picture is encoded once and the prompt filled once; texts that share a beginning share its key-values; rows of
    all requests decode in one batch. A row's tokens depend on its seed, not on the other rows, as far as the kernels
    round alike for batches of different size.

    `computed` in a result counts the prompt tokens that ran through the model for the request (at least one, and once
    for all its seeds; for scores also the option tokens that ran), `cached` those whose key-values were reused.

    Not covered: models outside `families.PROVEN`; more than one device that computes.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str = "",
        cache_gb: float = 1.0,
        rows_gb: float | None = None,
        max_rows: int = MAX_ROWS,
        prefill_tokens: int = 512,
        threads: int | None = None,
        shared_prefix: str = "auto",
        draft_tokens: int | None = None,
        thread: OneThread | None = None,
    ) -> None:
        """Take a loaded model and its processor; `load` makes both from a folder.

        Args:
            model: A model of a proven family; used by this engine's thread alone from now on.
            processor: Its processor, with a chat template.
            name: What to call the model in traces.
            cache_gb: Bound of the caches in GiB: three quarters for key-values, one quarter for pictures.
            rows_gb: Bound of the key-values of rows in work, in GiB; rows beyond it wait. None takes half of the memory
                that is free now and promised to no other engine of this process.
            max_rows: Most rows in a batch.
            prefill_tokens: About how many tokens of prompts are filled between two steps of rows that decode.
            threads: Threads of torch inside an operation; None leaves torch's setting.
            shared_prefix: Whether rows with a common beginning attend to one copy of it ("on") or to a copy each
                ("off"). Both are exact; "auto" takes what is faster for a model of this size.
            draft_tokens: Over how many tokens the model may run in a step, rows that write and guesses at what follows
                together. 0 guesses nothing, None leaves it to the engine. Guesses do not change what is written.
            thread: The one that has loaded the model, and will run it; see `thread.py`.

        Raises:
            ModelError: The model's family is not proven, or the processor lacks a part.
            InputError: A bound is not positive.
        """
        self._label = name or str(getattr(model.config, "name_or_path", "")) or type(model).__name__
        check_bounds(cache_gb, max_rows, threads, rows_gb, draft_tokens)
        check_sharing(shared_prefix)
        check_processor(self._label, processor)
        budget = int(cache_gb * _GIGABYTE)
        thread = thread or OneThread("stepsight-transformers")
        family = family_of(model.config)(model.eval())
        pictures = PictureShelf(family, processor, max_bytes=budget // 4)
        share = shared_prefix == "on" or (shared_prefix == "auto" and _pays(model))
        runner = thread.call(lambda: Runner(family, pictures, share=share))
        room = room_for_rows(family.device) if rows_gb is None else int(rows_gb * _GIGABYTE)
        promise(self, family.device, room)
        filler = Filler(runner, PrefixStore(budget - budget // 4), max_rows=max_rows, max_bytes=room)
        breadth = _DRAFT_TOKENS if draft_tokens is None else draft_tokens
        tokenizer = processor.tokenizer
        ends = end_tokens(model, tokenizer)
        batch = Batch(runner, filler, Detokenizer(tokenizer), ends, max_rows=max_rows, max_bytes=room, breadth=breadth)
        encoder = PromptEncoder(processor, pictures, family)
        self._thread = thread
        self._worker = Worker(thread, runner, filler, encoder, batch, threads=threads, piece=prefill_tokens)
        self._outbox: list[Job] = []
        self._closing = weakref.finalize(self, self._worker.close)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        device_map: str | None = None,
        dtype: str = "auto",
        attention: str = "auto",
        quantize: str = "none",
        revision: str | None = None,
        trust_remote_code: bool = False,
        name: str = "",
        cache_gb: float = 1.0,
        rows_gb: float | None = None,
        max_rows: int = MAX_ROWS,
        threads: int | None = None,
        shared_prefix: str = "auto",
        draft_tokens: int | None = None,
        delta: Path | None = None,
        beside: TransformersEngine | None = None,
    ) -> TransformersEngine:
        """Load a model from a folder or the hub; see `__init__`, `Placement` and `loading.load_model` for the options.

        `name` is what traces call the model; without one, what `model` says. `delta` holds weights to put over those of
        the model (see `deltas.py`). With `beside` it runs in the thread of that engine, and the two take turns: two
        that compute at once are in each other's way (see `thread.py`).

        Raises:
            ModelError: The model cannot be used; the message says why in one line.
            MissingExtraError: A package that an option needs is not installed.
            InputError: An option makes no sense.
        """
        check_bounds(cache_gb, max_rows, threads, rows_gb, draft_tokens)
        check_sharing(shared_prefix)
        placement = Placement(device, device_map, dtype, attention, quantize)
        thread, loaded, processor = load_in_thread(
            model,
            placement,
            revision=revision,
            trust_remote_code=trust_remote_code,
            delta=delta,
            thread=None if beside is None else beside._thread,
        )
        return cls(
            loaded,
            processor,
            name=name or str(model),
            cache_gb=cache_gb,
            rows_gb=rows_gb,
            max_rows=max_rows,
            threads=threads,
            shared_prefix=shared_prefix,
            draft_tokens=draft_tokens,
            thread=thread,
        )

    @property
    def name(self) -> str:
        """`transformers:` and the model's name."""
        return f"transformers:{self._label}"

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(prefix=True, logprobs=True, images=True, seeds=True)

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Sample continuations; see `protocols.SampleRequest`.

        A completion whose last token reaches beyond its stop string has its text cut there and carries no ids. The
        end-of-turn token counts as a generated token and is no part of text or ids. `on_text` is called from the
        worker thread.

        Raises:
            InputError: The request or its prompt cannot be used, or the prompt is too long.
            PictureError: A picture cannot be read.
            EngineError: The model failed.
        """
        _check(request)
        if not request.seeds:
            return SampleResult(())
        job = SampleJob(request, on_text, Reply())
        self._submit(job)
        return await job.reply.wait()

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Log-probabilities of options as the next text of the assistant's turn; see `protocols.ScoreRequest`.

        An option is tokenised by itself.

        Raises:
            InputError: An option is empty, or a prompt cannot be used.
            PictureError: A picture cannot be read.
            EngineError: The model failed.
        """
        if any(not request.options or not all(request.options) for request in requests):
            raise InputError("a score request needs options, and none may be empty")
        if not requests:
            return []
        job = ScoreJob(tuple(requests), Reply())
        self._submit(job)
        return await job.reply.wait()

    def close(self) -> None:
        """Stop the worker thread; what is not finished fails with EngineError. May be called twice."""
        self._closing()

    def __enter__(self) -> TransformersEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, job: Job) -> None:
        # Handed over at the end of this turn of the event loop: tasks that ask in the same turn run as one batch.
        self._outbox.append(job)
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        jobs, self._outbox = self._outbox, []
        if jobs:
            try:
                self._worker.submit(jobs)
            except Exception as error:
                for job in jobs:
                    job.reply.fail(error)


def _pays(model: Any) -> bool:
    return bool(sum(parameter.numel() for parameter in model.parameters()) >= _WORTH_SHARING)


def _check(request: SampleRequest) -> None:
    if request.max_tokens < 1:
        raise InputError(f"max_tokens must be at least 1, not {request.max_tokens}")
    if request.temperature < 0 or not 0 < request.top_p <= 1:
        raise InputError("temperature must be at least 0 and top_p above 0, at most 1")
    if not all(request.stop):
        raise InputError("a stop string must not be empty")


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a turn, as the model's generation settings say; else the tokenizer's end token."""
    settings = getattr(model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    if ends is None:
        ends = tokenizer.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)
