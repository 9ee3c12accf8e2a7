"""What a reward model is asked that scores one stage by itself, as LLaVA-CoT's released code asks its own.

There (arXiv 2411.10440, the released retracing search) a caption answers the question and a request to describe the
picture, a reasoning answers the question and a request to reason; each is shown without tags and without the stages
before it. Only at the end is the whole answer, tags and all, held against the bare question.

The requests are in our own words, so no cutoff published for theirs is valid here: calibrate one.
A published version never changes; a new wording gets a new version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from stepsight.prompts.answer import answer_turns
from stepsight.prompts.versions import chosen
from stepsight.protocols import Turn
from stepsight.records import Question
from stepsight.stages import Stage


@dataclass(frozen=True)
class RewardPrompts:
    """One versioned set. A request stands behind the question; a stage without one is scored with all before it."""

    version: str
    requests: Mapping[Stage, str]

    @property
    def digest(self) -> str:
        """A hash of every text in the set, to be kept beside results."""
        texts = [self.version, *(self.requests.get(stage, "") for stage in Stage)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def reward_prompts(version: str) -> RewardPrompts:
    """The set named `version`.

    Raises:
        InputError: there is no such set.
    """
    return chosen(_SETS, version, "reward")


def reward_turns(prompts: RewardPrompts, question: Question, stage: Stage | None) -> tuple[Turn, ...]:
    """The turns that a stage answers by itself; the bare question for whole answers (None) and what has no request."""
    *earlier, turn = answer_turns(question)
    request = prompts.requests.get(stage, "") if stage is not None else ""
    return (*earlier, replace(turn, text=f"{turn.text}\n{request}") if request else turn)


_RELEASED = RewardPrompts(
    version="released-1",
    requests=MappingProxyType(
        {
            Stage.SUMMARY: "Say in outline how you will answer this question about the picture.",
            Stage.CAPTION: "Describe the picture in detail, guided by the question and by what the picture shows.",
            Stage.REASONING: (
                "Reason step by step from the question and the picture, and write the way to the solution in detail."
            ),
        }
    ),
)
"""In its search the released code scores captions, reasonings and whole answers; the request for a SUMMARY is ours."""

_SETS: Mapping[str, RewardPrompts] = MappingProxyType({prompts.version: prompts for prompts in (_RELEASED,)})
