"""The reward model that comes with pico, and how others are named."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from stepsight.assembly import LoadedModel, ModelChoice, build_judge, load_model
from stepsight.errors import InputError, ModelError
from stepsight.judges import RewardJudge
from stepsight.records import Candidate, Finish, Piece, Question
from stepsight.reward_models import reward_judge
from stepsight.stages import Stage, render_stage
from stepsight.world.corruption import EVERY_FAULT, corrupt_things
from stepsight.world.split import Posed, pose, save_split
from stepsight.world.teacher import write_caption


def candidate(id: int, stage: Stage, text: str) -> Candidate:
    piece = Piece(text=("\n\n" if stage is not Stage.SUMMARY else "") + render_stage(stage, text))
    return Candidate(id=id, stage=stage, slot=id, seed=0, piece=piece, finish=Finish.STOP, tokens=1)


async def picks(judge: RewardJudge, posed: Posed, question: Question) -> bool:
    """Whether it prefers a true caption to one with two faults."""
    rng = random.Random(posed.id)
    wrong = write_caption(rng, corrupt_things(rng, posed.things, 2, EVERY_FAULT))
    line = [candidate(9, Stage.SUMMARY, posed.stages[Stage.SUMMARY])]
    both = [candidate(0, Stage.CAPTION, wrong), candidate(1, Stage.CAPTION, posed.stages[Stage.CAPTION])]
    verdict = await judge.judge(question, Stage.CAPTION, line, both)
    return verdict.order[0] == 1


async def test_pico_brings_a_reward_model_that_knows_faults_when_it_sees_them(tmp_path: Path) -> None:
    model = load_model(ModelChoice())
    judge = build_judge("reward", model, search="stage-beam", width=4)
    assert isinstance(judge, RewardJudge)
    assert judge.probabilities
    assert build_judge("reward", model, search="swires", width=1) is judge
    save_split("train", seed=12, count=20, out=tmp_path)
    right = 0
    for index in range(20):
        posed = pose("train", seed=12, index=index)
        right += await picks(judge, posed, posed.question((tmp_path / "images" / f"{posed.id}.png",)))
    assert right >= 18


def test_a_model_that_is_no_reward_model_is_refused() -> None:
    model = load_model(ModelChoice())
    with pytest.raises(ModelError, match="is no reward model"):
        reward_judge(replace(model, choice=ModelChoice(reward="pico"), rewards={}))
    with pytest.raises(ModelError, match="no model folder"):
        reward_judge(replace(model, choice=ModelChoice(reward="nowhere"), rewards={}))
    with pytest.raises(InputError, match="did you mean ixc"):
        reward_judge(replace(model, choice=ModelChoice(reward="icx:owner/model"), rewards={}))


def test_a_model_without_one_says_how_to_name_one() -> None:
    model = load_model(ModelChoice())
    bare = LoadedModel(model.engine, model.card.model_copy(update={"reward": ""}))
    with pytest.raises(InputError, match="nobody says which reward model"):
        reward_judge(bare)
