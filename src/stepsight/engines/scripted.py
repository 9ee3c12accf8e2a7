"""The shipped fake: an engine that says what a script tells it to, and remembers what it was asked.

A strategy, a judge, a page or a server runs against it in milliseconds and without a model. It keeps the manners of a
real engine: stop strings, token limits, finish reasons, streaming, and token counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stepsight.errors import EngineError, InputError
from stepsight.protocols import (
    Capabilities,
    Completion,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
    Turn,
)
from stepsight.records import Finish, Piece

Say = Callable[[SampleRequest, int, int], str | Completion]
"""Called with (request, slot, seed); gives a continuation."""

Rate = Callable[[ScoreRequest], Sequence[float]]
"""Gives the log-probabilities of a request's options."""

PICTURE_TOKENS = 64
"""What a picture counts for in `computed` and `cached`."""

_TOKEN = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True)
class SampleCall:
    """One `sample` and its result."""

    request: SampleRequest
    result: SampleResult


@dataclass(frozen=True)
class ScoreCall:
    """One `score` and its results."""

    requests: tuple[ScoreRequest, ...]
    results: tuple[ScoreResult, ...]


def tokens_of(text: str) -> list[str]:
    """The fake's tokens: each run of white space and each run of anything else is one token."""
    return _TOKEN.findall(text)


class ScriptedEngine:
    """Continues and scores from a script.

    A text of the script is cut after the first stop string in it (finish `stop`), else after `max_tokens` tokens
    (finish `length`); a text that runs to its end finishes with `stop`, as if the model had ended its turn. A
    `Completion` of the script is passed on as it is. Candidates of one request take texts in the order of slots;
    requests take them in the order in which they arrive.

    Token counts are made the way a real engine makes them: all prompts seen are remembered, and the longest beginning
    (in whole tokens, `PICTURE_TOKENS` for a picture) that a prompt shares with one of them is `cached`, the rest
    `computed`.

    Attributes:
        calls: Everything that was asked and answered, in order.
    """

    def __init__(
        self,
        samples: Iterable[str | Completion] | Say = (),
        *,
        scores: Iterable[Sequence[float]] | Rate = (),
        name: str = "scripted",
        capabilities: Capabilities | None = None,
        yields: int = 0,
    ) -> None:
        """Write the script.

        Args:
            samples: Continuations, used up in order, or a function that gives them without end.
            scores: For each score request the log-probabilities of its options, or a function that gives them.
            name: The engine's name in traces.
            capabilities: What it claims to be able to do; everything unless given.
            yields: How often a call lets other tasks run before it answers; no time passes.
        """
        self.calls: list[SampleCall | ScoreCall] = []
        self._say = samples if callable(samples) else None
        self._samples = deque(() if callable(samples) else samples)
        self._rate = scores if callable(scores) else None
        self._scores = deque(() if callable(scores) else scores)
        self._name = name
        self._capabilities = capabilities or Capabilities(prefix=True, logprobs=True, images=True, seeds=True)
        self._yields = yields
        self._seen: set[bytes] = set()

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it claims to be able to do."""
        return self._capabilities

    @property
    def left(self) -> tuple[int, int]:
        """How many continuations and scores of the script are still unused."""
        return len(self._samples), len(self._scores)

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        """Give the next continuations of the script, one per seed.

        Raises:
            EngineError: The script has run dry.
        """
        if self._say is None and len(self._samples) < len(request.seeds):
            raise EngineError(
                f"the script has {len(self._samples)} continuations left, {len(request.seeds)} are asked for",
                hint="give ScriptedEngine more samples, or a function",
            )
        # Taken before the first yield: what a request gets does not depend on which task runs first afterwards.
        planned = [self._next(request, slot, seed) for slot, seed in enumerate(request.seeds)]
        completions = tuple(_finished(text, request) for text in planned)
        computed, cached = self._count(request.turns, request.prefix)
        for completion in completions:
            self._remember(request.turns, (*request.prefix, completion.piece))
        await self._let_others_run()
        if on_text is not None:
            await self._stream(completions, on_text)
        result = SampleResult(completions, computed=computed, cached=cached, prompt=computed + cached)
        self.calls.append(SampleCall(request, result))
        return result

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Give the next scores of the script, one row per request.

        Raises:
            EngineError: The script has run dry.
            InputError: A row of the script does not fit the options asked for.
        """
        if self._rate is None and len(self._scores) < len(requests):
            raise EngineError(
                f"the script has {len(self._scores)} score rows left, {len(requests)} are asked for",
                hint="give ScriptedEngine more scores, or a function",
            )
        results = []
        for request in requests:
            row = tuple(self._rate(request) if self._rate is not None else self._scores.popleft())
            if len(row) != len(request.options):
                raise InputError(f"the script scores {len(row)} options, the request has {len(request.options)}")
            computed, cached = self._count(request.turns, request.prefix)
            results.append(ScoreResult(row, computed=computed, cached=cached))
        await self._let_others_run()
        self.calls.append(ScoreCall(tuple(requests), tuple(results)))
        return results

    def _next(self, request: SampleRequest, slot: int, seed: int) -> str | Completion:
        return self._samples.popleft() if self._say is None else self._say(request, slot, seed)

    async def _let_others_run(self) -> None:
        for _ in range(self._yields):
            await asyncio.sleep(0)

    async def _stream(self, completions: Sequence[Completion], on_text: OnText) -> None:
        """Hand out the texts token by token, all slots in turn, as a batch would."""
        streams = [deque(tokens_of(completion.piece.text)) for completion in completions]
        while any(streams):
            for slot, stream in enumerate(streams):
                if stream:
                    on_text(slot, stream.popleft())
            await asyncio.sleep(0)

    def _count(self, turns: Sequence[Turn], prefix: Sequence[Piece]) -> tuple[int, int]:
        cached = total = 0
        known = True
        for digest, size in _beginnings(turns, prefix):
            total += size
            known = known and digest in self._seen
            cached += size if known else 0
        self._remember(turns, prefix)
        return total - cached, cached

    def _remember(self, turns: Sequence[Turn], prefix: Sequence[Piece]) -> None:
        self._seen.update(digest for digest, _ in _beginnings(turns, prefix))


def _beginnings(turns: Sequence[Turn], prefix: Sequence[Piece]) -> Iterable[tuple[bytes, int]]:
    """A digest of the prompt up to each of its tokens or pictures, and what that one counts for."""
    running = hashlib.sha256()

    def grow(mark: str, text: str) -> bytes:
        running.update(f"{mark} {text}\0".encode())
        return running.digest()

    for turn in turns:
        yield grow("role", turn.role), 1
        for image in turn.images:
            yield grow("image", str(image)), PICTURE_TOKENS
        for token in tokens_of(turn.text):
            yield grow("token", token), 1
    yield grow("role", "assistant"), 1
    for token in tokens_of("".join(piece.text for piece in prefix)):
        yield grow("token", token), 1


def _finished(text: str | Completion, request: SampleRequest) -> Completion:
    """What a real engine would have made of a text under the request's limits."""
    if isinstance(text, Completion):
        return text
    ends = [place + len(stop) for stop in request.stop if (place := text.find(stop)) >= 0]
    if ends:
        text = text[: min(ends)]
    tokens = tokens_of(text)
    finish = Finish.STOP
    if len(tokens) > request.max_tokens:
        tokens, finish = tokens[: request.max_tokens], Finish.LENGTH
        text = "".join(tokens)
    return Completion(Piece(text=text), finish, len(tokens))
