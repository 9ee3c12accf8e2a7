"""Which arms of a study need not be run, because a wider one draws their answers too; see `evaluation.narrowing`.

A derived arm gets its traces before `evaluate` looks for them, which then finds nothing left to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stepsight.evaluation.narrowing import narrowed, not_exact
from stepsight.evaluation.run import resume, run_card
from stepsight.jsonl import append_jsonl, sift_jsonl
from stepsight.locks import alone
from stepsight.protocols import Engine, Judge
from stepsight.records import Question, Trace
from stepsight.search import WHOLE
from stepsight.study.recipe import Arm
from stepsight.tasks import together


def sources(arms: Sequence[Arm]) -> dict[str, Arm]:
    """By name of an arm that can be derived exactly, the arm that is run for it.

    That is the widest of those that draw alike; of equally wide ones the first that asks no judge.
    """
    groups: dict[tuple[object, ...], list[Arm]] = {}
    for arm in arms:
        if not _why_never(arm):
            groups.setdefault((arm.temperature, arm.constants), []).append(arm)
    found: dict[str, Arm] = {}
    for group in groups.values():
        widest = max(group, key=lambda arm: (arm.width, not arm.judged))
        found.update({arm.name: widest for arm in group if arm is not widest})
    return found


def reasons(arms: Sequence[Arm]) -> dict[str, str]:
    """By name of an arm that a wider one of the same search might be thought to contain, why it does not."""
    said: dict[str, str] = {}
    for arm in arms:
        others = [one for one in arms if (one.search, one.judge) == (arm.search, arm.judge) and one.width > arm.width]
        if others and (why := _why_never(arm)):
            said[arm.name] = why
    return said


def _why_never(arm: Arm) -> str:
    if arm.survivors != 1:
        return "whole answers have no survivors" if arm.search in WHOLE else "its lines share the width"
    return not_exact(arm.search, wide=arm.width, width=arm.width, limited=arm.budget_tokens is not None)


async def derive(
    arm: Arm,
    seed: int,
    source: Path,
    out: Path,
    questions: Sequence[Question],
    engine: Engine,
    judge: Judge | None,
    *,
    concurrency: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Enter into `out` the traces that `arm` would have made, out of those of a wider one; how many were entered.

    Those that are there already stay, and each is entered when it is finished, so a killed study goes on.

    Raises:
        InputError: `out` belongs to another run, another process is writing to it, or a trace of `source` does not
            allow it.
    """
    card = run_card(arm.search, judge, engine, arm.settings(seed))
    with alone(out):
        finished: Mapping[str, Trace] = resume(out, card, questions)
        wanted = {question.id for question in questions} - set(finished)
        waiting = iter([trace for trace in sift_jsonl(source, Trace).rows if trace.question.id in wanted])
        done = len(finished)

        async def work() -> int:
            nonlocal done
            entered = 0
            for trace in waiting:
                append_jsonl(out, [await narrowed(trace, arm.width, strategy=arm.search, judge=judge)])
                entered += 1
                done += 1
                progress(done)
            return entered

        return sum(await together([work() for _ in range(concurrency)]))
