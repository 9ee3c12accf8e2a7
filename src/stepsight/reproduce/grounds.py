"""What an answer in stages rests on: whether its CAPTION is true, and whether its REASONING follows from that CAPTION.

The truth of a REASONING as a whole mixes both: behind a wrong CAPTION none is true, though an object that is described
wrongly often does not matter. Parted like this, accuracy says where truer texts help and where they
cannot.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.records import Question
from stepsight.stages import Stage
from stepsight.world.checker import check, follows

SOUND = "CAPTION true, REASONING follows"
ASTRAY = "CAPTION true, REASONING does not follow"
MISREAD = "CAPTION false, REASONING follows"
NEITHER = "CAPTION false, REASONING does not follow"
UNTOLD = "cannot be told"
GROUNDS = (SOUND, ASTRAY, MISREAD, NEITHER, UNTOLD)


def grounds_of(question: Question, stages: Mapping[Stage, str]) -> str:
    """What an answer with these stages rests on, one of `GROUNDS`.

    It cannot be told where a stage is missing, the CAPTION cannot be read, or the question is not of the world.
    """
    caption, reasoning = stages.get(Stage.CAPTION), stages.get(Stage.REASONING)
    if caption is None or reasoning is None:
        return UNTOLD
    sound = follows(question, caption, reasoning)
    if sound is None:
        return UNTOLD
    if check(question, {Stage.CAPTION: caption}).caption:
        return SOUND if sound else ASTRAY
    return MISREAD if sound else NEITHER
