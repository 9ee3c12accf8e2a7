"""A scripted model for tests of what stands above the engines: plausible staged answers, and a judge's scores."""

from __future__ import annotations

from stepsight.assembly import LoadedModel
from stepsight.engines.scripted import ScriptedEngine
from stepsight.judges.pairwise import SelfJudge
from stepsight.model_folders import ModelCard
from stepsight.prompts.judge import judge_prompts
from stepsight.testing.model import ANSWER, rated, written

__all__ = ["ANSWER", "rated", "scripted_model", "self_judge", "written"]


def scripted_model(**card: object) -> LoadedModel:
    """A loaded model that answers by the script; `card` sets keys of its card."""
    return LoadedModel(ScriptedEngine(written, scores=rated), ModelCard.model_validate({"name": "scripted", **card}))


def self_judge(model: LoadedModel) -> SelfJudge:
    """The model as its own judge."""
    return SelfJudge(model.engine, judge_prompts(model.card.judge_prompts))
