"""An engine that dreams: what it writes depends on the seed alone, and how it scores is a function given to it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stepsight.protocols import (
    Capabilities,
    Completion,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Finish, Piece
from stepsight.stages import SEPARATOR, STAGES, render_stage

EVERYTHING = Capabilities(prefix=True, logprobs=True, images=True, seeds=True)

Scorer = Callable[[ScoreRequest], tuple[float, ...]]


def quality(text: str) -> int:
    """The last quality that a dreamt text carries; 0 if it carries none."""
    found = re.findall(r"q(\d+)", text)
    return int(found[-1]) if found else 0


def log_odds(ahead: float) -> tuple[float, float]:
    """Log-probabilities of two options that share all the mass, the first ahead by so many nats."""
    return (-math.log1p(math.exp(-ahead)), -math.log1p(math.exp(ahead)))


def shown(request: ScoreRequest) -> tuple[str, str]:
    """The two texts of a `short-2` comparison."""
    found = re.search(r"[A-Z] 1\. (.*)\nCompare 2\. (.*)$", request.turns[0].text, flags=re.DOTALL)
    assert found is not None
    return found[1], found[2]


def by_quality(request: ScoreRequest) -> tuple[float, float]:
    """Right about every pair, whatever the order; calls every reasoning correct."""
    if request.options == ("yes", "no"):
        return log_odds(1.0)
    first, second = shown(request)
    return log_odds((quality(first) - quality(second)) / 10)


@dataclass
class DreamEngine:
    """Writes `noun q<number>` into each stage. With probability `faulty` a stage comes out malformed."""

    faulty: float = 0.0
    scorer: Scorer = by_quality
    capabilities: Capabilities = EVERYTHING
    name: str = "dream"
    samples: list[SampleRequest] = field(default_factory=list)
    scored: list[list[ScoreRequest]] = field(default_factory=list)
    generated: int = 0
    cached: int = 0

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        self.samples.append(request)
        completions = []
        for slot, seed in enumerate(request.seeds):
            completion = self._write(request, seed)
            completions.append(completion)
            self.generated += completion.tokens
            if on_text is not None:
                on_text(slot, completion.piece.text)
        self.cached += 3
        return SampleResult(tuple(completions), computed=5, cached=3)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        self.scored.append(list(requests))
        self.cached += 2 * len(requests)
        return [ScoreResult(self.scorer(request), computed=7, cached=2) for request in requests]

    def _write(self, request: SampleRequest, seed: int) -> Completion:
        prefix = "".join(piece.text for piece in request.prefix)
        rng = random.Random(f"{request.turns[0].text}|{prefix}|{seed if request.temperature else 'greedy'}")
        written = ""
        for stage in STAGES[sum(stage.close in prefix for stage in STAGES) :]:
            space = SEPARATOR if prefix + written else ""
            body = render_stage(stage, f"{stage.key} q{rng.randrange(100)}")
            if rng.random() < self.faulty:
                kind = rng.randrange(3)
                if kind == 0:
                    return self._done(written + space + body.removesuffix(stage.close), Finish.LENGTH, rng)
                if kind == 1:
                    return self._done(written + space + "I stop here.", Finish.STOP, rng)
                body = body.removeprefix(stage.open)
            written += space + body
            if stage.close in request.stop:
                break
        return self._done(written, Finish.STOP, rng)

    @staticmethod
    def _done(text: str, finish: Finish, rng: random.Random) -> Completion:
        tokens = len(text.split()) + 1
        return Completion(Piece(text=text), finish, tokens, logprob=-rng.random() * tokens)
