"""Answers parted into kinds: how many are of each, and how many of those are right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from stepsight.evaluation.statistics import Share, share_of
from stepsight.records import Record, Trace


class PartFigures(Record):
    """Answers of one kind: which share of all they are, and which share of them is right."""

    kind: str
    share: Share
    accuracy: Share


def kinds_of(
    traces: Iterable[Trace], correct: Mapping[str, bool], kind_of: Callable[[Trace], str]
) -> list[tuple[str, bool]]:
    """Of each question its answer's kind and whether it is right.

    `correct` says so by a question's id; others are left out. Of several traces of a question the last counts, as when
    a run goes on (`evaluation.run.resume`).
    """
    last = {trace.question.id: trace for trace in traces if trace.question.id in correct}
    return [(kind_of(trace), correct[id]) for id, trace in last.items()]


def parted(answers: Sequence[tuple[str, bool]], kinds: Sequence[str]) -> tuple[PartFigures, ...]:
    """The figures of every kind that occurs, in the order of `kinds`, which must hold them all."""
    return tuple(
        PartFigures(
            kind=kind,
            share=share_of([one == kind for one, _ in answers]),
            accuracy=share_of([right for one, right in answers if one == kind]),
        )
        for kind in kinds
        if any(one == kind for one, _ in answers)
    )
