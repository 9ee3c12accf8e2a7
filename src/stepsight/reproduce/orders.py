"""Of answers whose stages stand in any order: how often they are right, by what was written before the CONCLUSION.

A CONCLUSION that stands before REASONING is an answer at once, whatever follows. So the accuracy of such answers as a
whole says little; parted like this it says what an order costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepsight.evaluation.statistics import Share, share_of
from stepsight.records import Record, Trace
from stepsight.stages import Stage, parse

BOTH = "CAPTION, then REASONING, then CONCLUSION"
REASONED = "REASONING, then CONCLUSION, without CAPTION before both"
AT_ONCE = "CONCLUSION, without REASONING before it"
NONE = "no CONCLUSION"
ORDERS = (BOTH, REASONED, AT_ONCE, NONE)


class OrderFigures(Record):
    """Answers of one order: which share of all they are, and which share of them is right."""

    order: str
    share: Share
    accuracy: Share


def order_of(text: str) -> str:
    """What stands before the CONCLUSION of an answer, one of `ORDERS`. SUMMARY may stand anywhere."""
    stages = list(parse(text).stages)
    if Stage.CONCLUSION not in stages:
        return NONE
    before = [stage for stage in stages[: stages.index(Stage.CONCLUSION)] if stage is not Stage.SUMMARY]
    if Stage.REASONING not in before:
        return AT_ONCE
    return BOTH if before == [Stage.CAPTION, Stage.REASONING] else REASONED


def answers_of(traces: Iterable[Trace], correct: Mapping[str, bool]) -> list[tuple[str, bool]]:
    """Of each trace its order and whether it is right; `correct` says so by a question's id, others are left out."""
    return [(order_of(trace.text), correct[trace.question.id]) for trace in traces if trace.question.id in correct]


def by_order(answers: Sequence[tuple[str, bool]]) -> tuple[OrderFigures, ...]:
    """The figures of every order that occurs, in the order of `ORDERS`."""
    return tuple(
        OrderFigures(
            order=order,
            share=share_of([one == order for one, _ in answers]),
            accuracy=share_of([right for one, right in answers if one == order]),
        )
        for order in ORDERS
        if any(one == order for one, _ in answers)
    )
