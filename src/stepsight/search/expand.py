"""The one step that every strategy shares, and the books of a search.

A strategy opens a `Search`, grows candidates with `expand` or `grow`, keeps one with `choose`, and closes with `trace`.
No engine and no judge is imported: both arrive as arguments.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stepsight.prompts.answer import answer_turns
from stepsight.protocols import (
    Completion,
    Engine,
    Event,
    Judge,
    OnText,
    SampleRequest,
    SearchSettings,
)
from stepsight.records import Candidate, Piece, Question, Trace, Usage, Verdict
from stepsight.search.checks import check_search
from stepsight.search.lines import Line, settings_record, whole_answer
from stepsight.search.purse import AHEAD, Purse, Spent, cut
from stepsight.seeds import derive_seed
from stepsight.stages import Stage

Finisher = Callable[[Completion, Callable[[Piece, int], Awaitable[Completion]], int], Awaitable[Completion]]
"""Brings a continuation to an end, given what continues it and how many tokens it may have; see `sentences`."""


class Search:
    """One search under way: every candidate and verdict, what was chosen, and what it cost.

    Args:
        strategy: its name, for the trace.
        question: what to answer.
        engine: where candidates come from.
        judge: who orders them; may be None if `settings.width` is 1.
        settings: width, sampling, seed, budget, and who watches.
        continues: whether the strategy continues a chosen prefix.
        alone: whether it chooses without a judge, however many candidates there are.

    Attributes:
        line: what was chosen so far; the answer when the search ends.

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
        alone: bool = False,
    ) -> None:
        check_search(strategy, question, engine, settings, continues=continues, judged=alone or judge is not None)
        self.question = question
        self.line: Line = ()
        self._strategy = strategy
        self._engine = engine
        self._judge = judge
        self._settings = settings
        self._purse = Purse(settings.budget)
        self._candidates: list[Candidate] = []
        self._verdicts: list[Verdict] = []
        self._slots: Counter[Stage | None] = Counter()
        self._cached = 0

    async def expand(self, stage: Stage | None, *, stop: Stage) -> list[Candidate]:
        """Sample `width` continuations of what was chosen so far, each up to the closing tag of `stop`.

        `stage` says what a continuation is (None: a whole answer).
        """
        (grown,) = await self.grow(stage, [(self.line, self._settings.width)], stop=(stop.close,))
        return grown

    async def grow(
        self,
        stage: Stage | None,
        wanted: Sequence[tuple[Line, int]],
        *,
        stop: tuple[str, ...],
        finish: Finisher | None = None,
    ) -> list[list[Candidate]]:
        """Sample so many continuations of each line, all at once.

        Seeds derive from (seed, question id, stage, slot); slots of a stage count on from where they stopped. `finish`
        brings a continuation that stopped to the end of a sentence.

        Where the budget does not allow all, there are fewer, and none for the last lines; none for lines that are as
        long as an answer may be. With a limit of tokens the very first is drawn alone: its length says how many more
        there may be if the answer is to be finished.

        Raises:
            Spent: the budget does not allow a single one; `bounded` takes it.
        """
        self._purse.check()
        lines = [line for line, _ in wanted]
        open_ended = [count if self._room(line) else 0 for line, count in wanted]
        if any(count for _, count in wanted) and not any(open_ended):
            raise Spent("tokens")
        self._tell(Event("stage_started", stage))
        counts = self._purse.allow(open_ended)
        most = self._settings.max_tokens
        grown: list[list[Candidate]] = [[] for _ in wanted]
        alone = self._purse.first(most)
        if alone is not None and any(counts):
            place = next(place for place, count in enumerate(counts) if count)
            await self._draw(
                grown, stage, lines, [int(other == place) for other in range(len(lines))], stop, alone, finish
            )
            counts[place] -= 1
            written = sum(candidate.tokens for candidate in lines[place])
            first = grown[place][0].tokens
            left, most = self._purse.others(sum(counts), most, first, written, AHEAD[stage])
            counts = cut(counts, left)
        if sum(counts):
            await self._draw(grown, stage, lines, counts, stop, most, finish)
        return grown

    async def _draw(
        self,
        grown: list[list[Candidate]],
        stage: Stage | None,
        lines: Sequence[Line],
        counts: Sequence[int],
        stop: tuple[str, ...],
        most: int,
        finish: Finisher | None,
    ) -> None:
        """Sample so many more continuations of each line, of at most so many tokens, and enter them."""
        jobs: list[tuple[int, range, float]] = []
        for place, (line, count) in enumerate(zip(lines, counts, strict=True)):
            first = self._slots[stage]
            self._slots[stage] += count
            several = count > 1 or self._settings.width > 1
            greedy = int(self._settings.greedy_first and count > 0 and several and self._is_new(line, stage))
            split = ((range(first, first + greedy), 0.0), (range(first + greedy, first + count), self._heat))
            jobs += [(place, slots, heat) for slots, heat in split if slots]
        room = [min(most, self._room(line)) for line in lines]
        tasks = (
            self._sample(stage, lines[place], stop, slots, heat, room[place], finish) for place, slots, heat in jobs
        )
        results = await self._purse.before_time_is_up(asyncio.gather(*tasks))
        for (place, slots, _), completions in zip(jobs, results, strict=True):
            for slot, completion in zip(slots, completions, strict=True):
                grown[place].append(self._enter(stage, lines[place], slot, completion, finish is not None))

    async def choose(self, stage: Stage | None, candidates: Sequence[Candidate]) -> Candidate:
        """Let the judge order the candidates and go on from the best; the only one is kept unasked."""
        ranked = await self.rank(stage, self.line, candidates)
        self.keep((*self.line, ranked[0]))
        return ranked[0]

    async def rank(self, stage: Stage | None, line: Line, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, which continue `line`, in the judge's order; as they are where time is up."""
        ((ranked,),) = [await self.rank_all(stage, [(line, candidates)])]
        return [candidate for candidate, _ in ranked]

    async def rank_all(
        self, stage: Stage | None, groups: Sequence[tuple[Line, Sequence[Candidate]]], *, fewest: int = 2
    ) -> list[list[tuple[Candidate, float]]]:
        """Order several groups of candidates at once, each continuing a line of its own.

        Groups of less than `fewest` are left unasked: of one candidate only its score could be learned.

        Returns:
            Each group, best first, with the judge's scores: NaN where it gives none, minus infinity if malformed.
        """
        unscored = [[(candidate, math.nan) for candidate in candidates] for _, candidates in groups]
        asked = [place for place, (_, candidates) in enumerate(groups) if len(candidates) >= fewest]
        if self._judge is None or not asked:
            return unscored
        calls = (self._judge.judge(self.question, stage, *groups[place]) for place in asked)
        try:
            verdicts = await self._purse.before_time_is_up(asyncio.gather(*calls))
        except Spent:
            return unscored
        ranked = unscored
        for place, verdict in zip(asked, verdicts, strict=True):
            self._verdicts.append(verdict)
            self._tell(Event("verdict", stage, verdict=verdict))
            by_id = {candidate.id: candidate for candidate in groups[place][1]}
            scores = verdict.scores or (math.nan,) * len(verdict.order)
            malformed = verdict.evidence.get("malformed", {})
            ranked[place] = [
                (by_id[one], -math.inf if str(one) in malformed else score)
                for one, score in zip(verdict.order, scores, strict=True)
            ]
        return ranked

    async def settle(self, lines: Sequence[Line]) -> Line:
        """Let the judge choose between whole answers that were written stage by stage, and keep the best."""
        whole = {line[-1].id: whole_answer(line) for line in lines}
        ranked = await self.rank(None, (), list(whole.values()))
        best = next(line for line in lines if line[-1].id == ranked[0].id)
        self.keep(best)
        return best

    def keep(self, line: Line) -> None:
        """Say that `line` is the best answer, or beginning of one, known by now."""
        self.line = line
        best = line[-1]
        answer = "".join(candidate.piece.text for candidate in line)
        self._tell(Event("stage_chosen", best.stage, best.slot, best.piece.text, best, answer=answer))

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What stands inside ends where the budget does."""
        try:
            yield
        except Spent as spent:
            self._purse.ended_by = spent.what

    def trace(self) -> Trace:
        """Everything that happened."""
        kept = sum(candidate.tokens for candidate in self.line)
        return Trace(
            question=self.question,
            strategy=self._strategy,
            judge=None if self._judge is None else self._judge.name,
            seed=self._settings.seed,
            settings=settings_record(self._engine, self._settings),
            candidates=tuple(self._candidates),
            verdicts=tuple(self._verdicts),
            chosen=tuple(candidate.id for candidate in self.line),
            usage=Usage(
                kept=kept,
                discarded=self._purse.tokens - kept,
                judge=sum(verdict.tokens for verdict in self._verdicts),
                cached=self._cached + sum(verdict.cached for verdict in self._verdicts),
            ),
            seconds=self._purse.seconds,
            spending=self._purse.account() if self._settings.budget.limited else None,
        )

    def agreed(self) -> None:
        """Say that the search stops because enough is known, with whatever is left of the budget."""
        self._purse.ended_by = "agreed"

    def retrace(self, stage: Stage) -> None:
        """Tell those who watch that the search goes back to `stage`."""
        self._tell(Event("retrace", stage))

    def _room(self, line: Line) -> int:
        """How many tokens may follow a line."""
        most = self._settings.answer_tokens
        if most is None:
            return self._settings.max_tokens
        return max(0, min(self._settings.max_tokens, most - sum(candidate.tokens for candidate in line)))

    @property
    def _heat(self) -> float:
        return self._settings.temperature

    def _is_new(self, line: Line, stage: Stage | None) -> bool:
        parent = line[-1].id if line else None
        return not any(candidate.parent == parent and candidate.stage is stage for candidate in self._candidates)

    async def _sample(
        self,
        stage: Stage | None,
        line: Line,
        stop: tuple[str, ...],
        slots: range,
        temperature: float,
        most: int,
        finish: Finisher | None,
    ) -> list[Completion]:
        request = SampleRequest(
            turns=answer_turns(self.question),
            seeds=tuple(self._seed(stage, slot) for slot in slots),
            prefix=tuple(candidate.piece for candidate in line),
            stop=stop,
            max_tokens=most,
            temperature=temperature,
            top_p=self._settings.top_p,
        )
        result = await self._engine.sample(request, self._on_text(stage, slots.start))
        self._cached += result.cached
        if finish is None:
            return list(result.completions)
        pairs = zip(slots, result.completions, strict=True)
        return list(await asyncio.gather(*(self._lengthen(stage, slot, request, one, finish) for slot, one in pairs)))

    async def _lengthen(
        self, stage: Stage | None, slot: int, request: SampleRequest, begun: Completion, finish: Finisher
    ) -> Completion:
        times = 0

        async def more(piece: Piece, most: int) -> Completion:
            nonlocal times
            times += 1
            seed = derive_seed(self._seed(stage, slot), self.question.id, "more", times)
            longer = replace(request, seeds=(seed,), prefix=(*request.prefix, piece), max_tokens=most)
            result = await self._engine.sample(longer, self._on_text(stage, slot))
            self._cached += result.cached
            return result.completions[0]

        return await finish(begun, more, request.max_tokens)

    def _on_text(self, stage: Stage | None, first: int) -> OnText | None:
        watch = self._settings.watch
        if watch is None:
            return None
        return lambda slot, text: watch(Event("text", stage, first + slot, text))

    def _enter(self, stage: Stage | None, line: Line, slot: int, completion: Completion, sentence: bool) -> Candidate:
        candidate = Candidate(
            id=len(self._candidates),
            stage=stage,
            slot=slot,
            seed=self._seed(stage, slot),
            piece=completion.piece,
            finish=completion.finish,
            tokens=completion.tokens,
            parent=line[-1].id if line else None,
            logprob=completion.logprob,
            sentence=sentence,
            reason=completion.reason,
        )
        self._purse.pay(candidate.tokens)
        self._candidates.append(candidate)
        self._tell(Event("candidate", stage, slot, candidate.piece.text, candidate))
        return candidate

    def _seed(self, stage: Stage | None, slot: int) -> int:
        return derive_seed(self._settings.seed, self.question.id, stage or "whole", slot)

    def _tell(self, event: Event) -> None:
        if self._settings.watch is not None:
            self._settings.watch(event)
