"""Pictures drawn for whoever has none at hand, and what of a search about one is true of it."""

from __future__ import annotations

import base64
from typing import Literal

from pydantic import BaseModel

from stepsight.prompts.answer import question_text
from stepsight.records import Candidate, Trace
from stepsight.stages import Stage
from stepsight.world.drawing import draw_picture
from stepsight.world.split import png_of, pose
from stepsight.world.truth import is_true

SplitName = Literal["train", "test", "hard"]
MOST_SEED = 2**31 - 1


class DrawnScene(BaseModel):
    """A drawn picture as a data URL, a question about it, its answer, and the truth of all four stages, with tags."""

    split: SplitName
    seed: int
    picture: str
    question: str
    answer: str
    truth: str


class TruthOfCandidates(BaseModel):
    """Whether each candidate, by its id, is true where it stands; null where that cannot be said."""

    candidates: dict[int, bool | None]


def drawn_scene(split: SplitName, seed: int) -> DrawnScene:
    """The scene of that number; always the same one."""
    posed = pose(split, seed=seed, index=0)
    question = posed.question()
    data = base64.b64encode(png_of(draw_picture(posed.scene))).decode()
    return DrawnScene(
        split=split,
        seed=seed,
        picture=f"data:image/png;base64,{data}",
        question=question_text(question),
        answer=posed.asked.answer,
        truth=str(question.meta["staged_answer"]),
    )


def truth_of(trace: Trace, split: SplitName, seed: int) -> TruthOfCandidates:
    """Hold a search against the scene that it was about.

    If it asked something else about that scene than the scene's own question, only its captions can be told.
    """
    known = pose(split, seed=seed, index=0).question()
    same = question_text(trace.question) == question_text(known)
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    found: dict[int, bool | None] = {}
    for candidate in trace.candidates:
        before: list[Candidate] = []
        at = candidate.parent
        while at is not None:
            before.insert(0, by_id[at])
            at = by_id[at].parent
        told = same or candidate.stage is Stage.CAPTION
        found[candidate.id] = is_true(known, before, candidate) if told else None
    return TruthOfCandidates(candidates=found)
