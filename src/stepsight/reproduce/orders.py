"""What was written before the CONCLUSION, of answers whose stages stand in any order.

A CONCLUSION that stands before REASONING is an answer at once, whatever follows. So the accuracy of such answers as a
whole says little; parted like this it says what an order costs.
"""

from __future__ import annotations

from stepsight.stages import Stage, parse

BOTH = "CAPTION, then REASONING, then CONCLUSION"
REASONED = "REASONING, then CONCLUSION, without CAPTION before both"
AT_ONCE = "CONCLUSION, without REASONING before it"
NONE = "no CONCLUSION"
ORDERS = (BOTH, REASONED, AT_ONCE, NONE)


def order_of(text: str) -> str:
    """What stands before the CONCLUSION of an answer, one of `ORDERS`. SUMMARY may stand anywhere."""
    stages = list(parse(text).stages)
    if Stage.CONCLUSION not in stages:
        return NONE
    before = [stage for stage in stages[: stages.index(Stage.CONCLUSION)] if stage is not Stage.SUMMARY]
    if Stage.REASONING not in before:
        return AT_ONCE
    return BOTH if before == [Stage.CAPTION, Stage.REASONING] else REASONED
