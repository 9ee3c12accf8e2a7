"""Judges of decisions that are made again, and of studies: those of a search, and the oracle."""

from __future__ import annotations

from stepsight.assembly import LoadedModel, build_judge
from stepsight.errors import InputError
from stepsight.judges import JUDGES
from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.oracle import OracleJudge
from stepsight.judges.vote import VoteJudge
from stepsight.protocols import Judge
from stepsight.world.truth import is_true

ASK_NO_MODEL = frozenset({"likelihood", "vote", "oracle"})
"""Judges that need no model of their own when decisions are made again."""


def build_study_judge(name: str, model: LoadedModel | None) -> Judge:
    """The judge called `name`, or the oracle, for decisions that are made again; `model` is for those that ask it.

    Raises:
        InputError: there is no such judge.
        CapabilityError: the model's engine cannot serve it.
    """
    if name == "oracle":
        return OracleJudge(is_true)
    if name not in JUDGES:
        raise InputError(f"there is no judge {name!r}", hint=f"known: {', '.join(JUDGES)}, oracle")
    if name == "likelihood":
        return LikelihoodJudge(cutoff=None if model is None else model.card.cutoffs.get(name))
    if name == "vote":
        return VoteJudge()
    assert model is not None
    judge = build_judge(name, model, search="best-of-n", width=2)
    assert judge is not None
    return judge
