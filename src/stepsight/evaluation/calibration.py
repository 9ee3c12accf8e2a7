"""Which score of a judge is good enough for `swires`: a quantile of its scores of reasonings in a pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stepsight.errors import CapabilityError, InputError
from stepsight.evaluation.rejudging import decisions_of
from stepsight.evaluation.statistics import Share, share_of
from stepsight.judges.oracle import Truth
from stepsight.records import Record, Trace
from stepsight.stages import Stage

TESTS = ("test", "hard")
"""Splits of the world that are there to measure with, not to choose by."""


class Calibration(Record):
    """A cutoff and where it comes from.

    cutoff: below it lies `share` of the scores. normal: where that would be if scores were normally distributed with
    their `mean` and `deviation`, which is how the paper puts its own cutoff (0.6). above, below: how often reasonings
    on either side are true, where that is known.
    """

    judge: str
    share: float
    cutoff: float
    normal: float
    mean: float
    deviation: float
    scores: int
    above: Share
    below: Share


def calibrate(traces: Sequence[Trace], truth: Truth, *, share: float = 0.6) -> Calibration:
    """The cutoff of the judge whose verdicts are in `traces`.

    Args:
        traces: of a pilot, judged at REASONING by a judge that gives scores.
        truth: knows which candidates are true, if anybody does.
        share: 0 to 1, of reasonings that are not good enough.

    Raises:
        InputError: the share makes no sense, the traces are of a split to measure with, or hold no scored reasonings.
        CapabilityError: the judge gives no scores.
    """
    if not 0 < share < 1:
        raise InputError(f"the share is {share}", hint="give a number between 0 and 1; the paper takes 0.6")
    measured = sorted({split for trace in traces if (split := trace.question.meta.get("split")) in TESTS})
    if measured:
        raise InputError(
            f"these traces are of the split {measured[0]}, which is there to measure with",
            hint="make a pilot: stepsight draw --split train --seed N",
        )
    judge = next((trace.judge for trace in traces if trace.judge), "none")
    scores: list[float] = []
    truths: list[bool | None] = []
    for trace in traces:
        decided = {frozenset(one.id for one in decision.candidates): decision for decision in decisions_of(trace)}
        for verdict in trace.verdicts:
            decision = decided.get(frozenset(verdict.order))
            if verdict.stage is not Stage.REASONING or decision is None:
                continue
            if verdict.scores is None:
                raise CapabilityError(
                    f"the judge {judge} gives no scores", hint="use one that does, such as likelihood"
                )
            malformed = verdict.evidence.get("malformed", {})
            by_id = {one.id: one for one in decision.candidates}
            for one, score in zip(verdict.order, verdict.scores, strict=True):
                if str(one) not in malformed and math.isfinite(score):
                    scores.append(score)
                    truths.append(truth(trace.question, decision.line, by_id[one]))
    if not scores:
        raise InputError(
            "no reasoning has a score here", hint="make the pilot with stage-beam and at least two candidates"
        )
    values = np.array(scores)
    cutoff = float(np.quantile(values, share))
    sides = [(score > cutoff, true) for score, true in zip(scores, truths, strict=True)]
    mean, deviation = float(values.mean()), float(values.std())
    return Calibration(
        judge=judge,
        share=share,
        cutoff=cutoff,
        normal=mean + deviation * _normal_quantile(share),
        mean=mean,
        deviation=deviation,
        scores=len(scores),
        above=share_of([true for high, true in sides if high]),
        below=share_of([true for high, true in sides if not high]),
    )


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
