"""Whether a candidate is true where it stands: what judges are held against, and the oracle knows."""

from __future__ import annotations

from collections.abc import Sequence

from stepsight.judges.reading import malformed, stage_texts, unit_text
from stepsight.records import Candidate, Question
from stepsight.stages import Stage, conclusion
from stepsight.world.checker import check, follows


def is_true(question: Question, chosen: Sequence[Candidate], candidate: Candidate) -> bool | None:
    """Whether a candidate is true; None where that cannot be told.

    A CAPTION is held against the scene, a REASONING against the chosen caption (it must follow it, wrong or not), a
    CONCLUSION and a whole answer against the known answer. Malformed candidates are not true. Summaries, sentences and
    questions that are not of the world cannot be told.
    """
    stage = candidate.stage
    if "scene" not in question.meta or candidate.sentence or stage is Stage.SUMMARY:
        return None
    if malformed(candidate) is not None:
        return False
    text = unit_text(candidate)
    if stage is Stage.CAPTION:
        return check(question, {stage: text}).caption
    if stage is Stage.REASONING:
        return follows(question, stage_texts(chosen).get(Stage.CAPTION, ""), text)
    said = text if stage is Stage.CONCLUSION else conclusion(text)
    return None if said is None else check(question, {Stage.CONCLUSION: said}).conclusion
