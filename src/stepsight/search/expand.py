"""The one step that every strategy shares, and the books of a search.

A strategy opens a `Search`, grows candidates with `expand`, keeps one with `choose`, and closes with `trace`.
No engine and no judge is imported: both arrive as arguments.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from stepsight.errors import CapabilityError, InputError
from stepsight.prompts.answer import answer_turns
from stepsight.protocols import (
    Completion,
    Engine,
    Event,
    Judge,
    OnText,
    SampleRequest,
    SampleResult,
    SearchSettings,
)
from stepsight.records import Candidate, Finish, Question, Trace, Usage, Verdict
from stepsight.seeds import derive_seed
from stepsight.stages import Stage


class Search:
    """One search under way: every candidate and verdict, what was chosen, and what it cost.

    Args:
        strategy: its name, for the trace.
        question: what to answer.
        engine: where candidates come from.
        judge: who orders them; may be None if `settings.width` is 1.
        settings: width, sampling, seed, and who watches.
        continues: whether the strategy continues a chosen prefix.

    Raises:
        InputError: the settings make no sense together, or a judge is missing.
        CapabilityError: the engine cannot do what the strategy or the question needs.
    """

    def __init__(
        self,
        strategy: str,
        question: Question,
        engine: Engine,
        judge: Judge | None,
        settings: SearchSettings,
        *,
        continues: bool,
    ) -> None:
        _check(strategy, question, engine, judge, settings, continues)
        self.question = question
        self._strategy = strategy
        self._engine = engine
        self._judge = judge
        self._settings = settings
        self._started = time.perf_counter()
        self._candidates: list[Candidate] = []
        self._verdicts: list[Verdict] = []
        self._chosen: list[Candidate] = []
        self._cached = 0

    async def expand(self, stage: Stage | None, *, stop: Stage) -> list[Candidate]:
        """Sample `width` continuations of what was chosen so far, each up to the closing tag of `stop`.

        `stage` says what a continuation is (None: a whole answer). Seeds derive from (seed, question id, stage, slot).
        """
        width, temperature = self._settings.width, self._settings.temperature
        self._tell(Event("stage_started", stage))
        if self._settings.greedy_first and width > 1:
            groups = [(range(1), 0.0), (range(1, width), temperature)]
        else:
            groups = [(range(width), temperature)]
        results = await asyncio.gather(*(self._sample(stage, stop, slots, heat) for slots, heat in groups))

        self._cached += sum(result.cached for result in results)
        completions = [completion for result in results for completion in result.completions]
        grown = [self._candidate(stage, slot, completion) for slot, completion in enumerate(completions)]
        self._candidates += grown
        for candidate in grown:
            self._tell(Event("candidate", stage, candidate.slot, candidate.piece.text, candidate))
        return grown

    async def choose(self, stage: Stage | None, candidates: Sequence[Candidate]) -> Candidate:
        """Let the judge order the candidates and keep the best; the only one is kept unasked."""
        if len(candidates) == 1 or self._judge is None:
            best = candidates[0]
        else:
            verdict = await self._judge.judge(self.question, stage, tuple(self._chosen), candidates)
            self._verdicts.append(verdict)
            self._tell(Event("verdict", stage, verdict=verdict))
            best = next(candidate for candidate in candidates if candidate.id == verdict.order[0])
        self._chosen.append(best)
        self._tell(Event("stage_chosen", stage, best.slot, best.piece.text, best))
        return best

    def trace(self) -> Trace:
        """Everything that happened."""
        chosen = tuple(candidate.id for candidate in self._chosen)
        kept = sum(candidate.tokens for candidate in self._chosen)
        return Trace(
            question=self.question,
            strategy=self._strategy,
            judge=None if self._judge is None else self._judge.name,
            seed=self._settings.seed,
            settings=settings_record(self._engine, self._settings),
            candidates=tuple(self._candidates),
            verdicts=tuple(self._verdicts),
            chosen=chosen,
            usage=Usage(
                kept=kept,
                discarded=sum(candidate.tokens for candidate in self._candidates) - kept,
                judge=sum(verdict.tokens for verdict in self._verdicts),
                cached=self._cached + sum(verdict.cached for verdict in self._verdicts),
            ),
            seconds=time.perf_counter() - self._started,
        )

    async def _sample(self, stage: Stage | None, stop: Stage, slots: range, temperature: float) -> SampleResult:
        settings = self._settings
        request = SampleRequest(
            turns=answer_turns(self.question),
            seeds=tuple(self._seed(stage, slot) for slot in slots),
            prefix=tuple(candidate.piece for candidate in self._chosen),
            stop=(stop.close,),
            max_tokens=settings.max_tokens,
            temperature=temperature,
            top_p=settings.top_p,
        )
        return await self._engine.sample(request, self._on_text(stage, slots.start))

    def _on_text(self, stage: Stage | None, first: int) -> OnText | None:
        watch = self._settings.watch
        if watch is None:
            return None
        return lambda slot, text: watch(Event("text", stage, first + slot, text))

    def _candidate(self, stage: Stage | None, slot: int, completion: Completion) -> Candidate:
        return Candidate(
            id=len(self._candidates) + slot,
            stage=stage,
            slot=slot,
            seed=self._seed(stage, slot),
            piece=completion.piece,
            finish=completion.finish,
            tokens=completion.tokens,
            parent=self._chosen[-1].id if self._chosen else None,
            logprob=completion.logprob,
        )

    def _seed(self, stage: Stage | None, slot: int) -> int:
        return derive_seed(self._settings.seed, self.question.id, stage or "whole", slot)

    def _tell(self, event: Event) -> None:
        if self._settings.watch is not None:
            self._settings.watch(event)


def settings_record(engine: Engine, settings: SearchSettings) -> dict[str, object]:
    """What a trace says of the settings it was made with (the seed has its own field)."""
    return {
        "engine": engine.name,
        "width": settings.width,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "greedy_first": settings.greedy_first,
    }


def ended(candidate: Candidate, stage: Stage) -> bool:
    """Whether the model ended its turn (or failed) instead of closing `stage`, so that nothing can follow.

    A piece that ran into `max_tokens` has not ended: the next stage continues it.
    """
    if candidate.finish is Finish.LENGTH:
        return False
    return candidate.finish is Finish.ERROR or not candidate.piece.text.rstrip().endswith(stage.close)


def _check(
    strategy: str, question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings, continues: bool
) -> None:
    if settings.width < 1:
        raise InputError(f"the width is {settings.width}", hint="draw at least one candidate")
    if settings.max_tokens < 1:
        raise InputError(f"max_tokens is {settings.max_tokens}", hint="allow at least one token")
    if settings.width > 1 and judge is None:
        raise InputError(
            f"{strategy} draws {settings.width} candidates and has no judge to choose between them",
            hint="name a judge (self, written, likelihood or vote), or set the width to 1",
        )
    if continues and not engine.capabilities.prefix:
        raise CapabilityError(
            f"{strategy} continues the assistant's turn, which the engine {engine.name} cannot",
            hint="use the strategy 'best-of-n', which writes each answer in one go",
        )
    if question.images and not engine.capabilities.images:
        raise CapabilityError(
            f"question {question.id} has a picture, and the engine {engine.name} reads none",
            hint="use a vision-language model",
        )
