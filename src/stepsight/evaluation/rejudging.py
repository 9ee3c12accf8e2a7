"""Decisions of finished searches, made again by another judge: nothing is generated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepsight.evaluation.steps import steps_of
from stepsight.protocols import Judge
from stepsight.records import Candidate, Question, Trace, Verdict
from stepsight.stages import Stage


@dataclass(frozen=True)
class Decision:
    """Candidates of one stage (None: whole answers) that continue the same line, and what was chosen before them."""

    question: Question
    stage: Stage | None
    line: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]


def decisions_of(trace: Trace) -> tuple[Decision, ...]:
    """Where a search had to choose: every step with more than one candidate."""
    by_id = {candidate.id: candidate for candidate in trace.candidates}

    def line(parent: int | None) -> tuple[Candidate, ...]:
        return () if parent is None else (*line(by_id[parent].parent), by_id[parent])

    return tuple(
        Decision(trace.question, step.stage, line(step.parent), tuple(sorted(step.candidates, key=lambda one: one.id)))
        for step in steps_of(trace)
        if len(step.candidates) > 1
    )


async def rejudge(
    traces: Sequence[Trace],
    judge: Judge,
    *,
    concurrency: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Trace]:
    """The same traces with the verdicts of `judge`; see `rejudged`.

    Args:
        traces: finished searches.
        judge: judges every decision of them anew.
        concurrency: how many traces are judged at a time.
        progress: called with the number of traces done.
    """
    gate = asyncio.Semaphore(concurrency)
    done = 0

    async def again(trace: Trace) -> Trace:
        nonlocal done
        async with gate:
            made = await rejudged(trace, judge)
        done += 1
        progress(done)
        return made

    return list(await asyncio.gather(*(again(trace) for trace in traces)))


async def rejudged(trace: Trace, judge: Judge) -> Trace:
    """A trace with the verdicts of `judge`.

    Of whole answers the judge's best is the new answer. A search by stages went on from what the first judge chose, so
    its answer stays as it was: the verdicts say what would have been chosen at each step.
    """
    verdicts = [await judge.judge(one.question, one.stage, one.line, one.candidates) for one in decisions_of(trace)]
    return _with(trace, judge.name, verdicts)


def _with(trace: Trace, judge: str, verdicts: Sequence[Verdict]) -> Trace:
    whole = [verdict for verdict in verdicts if verdict.stage is None]
    chosen = (whole[0].order[0],) if whole else trace.chosen
    tokens = {candidate.id: candidate.tokens for candidate in trace.candidates}
    kept = sum(tokens[one] for one in chosen)
    usage = trace.usage.model_copy(
        update={
            "kept": kept,
            "discarded": sum(tokens.values()) - kept,
            "judge": sum(verdict.tokens for verdict in verdicts),
        }
    )
    return trace.model_copy(update={"judge": judge, "verdicts": tuple(verdicts), "chosen": chosen, "usage": usage})
