"""Judges say which candidates are better; an engine, where they need one, arrives as an argument."""

from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.pairwise import SelfJudge
from stepsight.judges.vote import VoteJudge
from stepsight.judges.written import WrittenJudge

JUDGES: dict[str, type[SelfJudge] | type[LikelihoodJudge] | type[VoteJudge] | type[WrittenJudge]] = {
    "self": SelfJudge,
    "written": WrittenJudge,
    "likelihood": LikelihoodJudge,
    "vote": VoteJudge,
}

__all__ = ["JUDGES", "LikelihoodJudge", "SelfJudge", "VoteJudge", "WrittenJudge"]
