"""Judges say which candidates are better; an engine, where they need one, arrives as an argument."""

from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.pairwise import SelfJudge
from stepsight.judges.reward import RewardJudge, WordsReward
from stepsight.judges.vote import VoteJudge
from stepsight.judges.written import WrittenJudge

JUDGES: dict[str, type[SelfJudge | RewardJudge | LikelihoodJudge | VoteJudge | WrittenJudge]] = {
    "self": SelfJudge,
    "reward": RewardJudge,
    "written": WrittenJudge,
    "likelihood": LikelihoodJudge,
    "vote": VoteJudge,
}

__all__ = ["JUDGES", "LikelihoodJudge", "RewardJudge", "SelfJudge", "VoteJudge", "WordsReward", "WrittenJudge"]
