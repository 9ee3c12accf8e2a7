"""The baseline every search must beat: many answers, and the commonest conclusion wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stepsight.conclusions import ballot
from stepsight.errors import CapabilityError
from stepsight.judges.reading import check_candidates, malformed, unit_text
from stepsight.records import Candidate, Question, Verdict
from stepsight.stages import Stage, conclusion


@dataclass(frozen=True)
class VoteJudge:
    """Orders whole answers by how many share their conclusion (self-consistency); needs no engine.

    Conclusions are equal if they say the same in one form (see `conclusions.ballot`). Malformed answers have no vote
    and rank last. Among equals the lower id comes first; a shared first place counts as a tie.
    It does not cover single stages other than CONCLUSION: texts of several sentences are hardly ever equal.
    """

    name: str = field(default="vote", init=False)
    scores: bool = field(default=True, init=False, repr=False)
    probabilities: bool = field(default=False, init=False, repr=False)
    cutoff: float | None = field(default=None, init=False, repr=False)

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        """Order `candidates`, best first; `scores` are numbers of votes.

        Raises:
            InputError: there is no candidate, or two share an id.
            CapabilityError: `stage` is neither CONCLUSION nor None.
        """
        check_candidates(candidates)
        if stage not in (None, Stage.CONCLUSION):
            raise CapabilityError(
                f"the judge 'vote' counts equal conclusions and cannot order candidates for {stage.value}",
                hint="use it with the strategy 'best-of-n', or take the judge 'self' or 'likelihood'",
            )
        faults = {candidate.id: fault for candidate in candidates if (fault := malformed(candidate)) is not None}
        ballots = {
            candidate.id: _conclusion(question, candidate) for candidate in candidates if candidate.id not in faults
        }
        cast = list(ballots.values())
        votes = {
            candidate.id: cast.count(ballots[candidate.id]) if candidate.id in ballots else 0
            for candidate in candidates
        }
        order = sorted(votes, key=lambda one: (-votes[one], one))
        most = votes[order[0]]
        return Verdict(
            judge=self.name,
            stage=stage,
            order=tuple(order),
            scores=tuple(float(votes[one]) for one in order),
            evidence={
                "conclusions": {str(one): ballots[one] for one in sorted(ballots)},
                "malformed": {str(one): faults[one] for one in sorted(faults)},
            },
            ties=max(0, len({text for text in cast if cast.count(text) == most}) - 1),
        )


def _conclusion(question: Question, candidate: Candidate) -> str:
    text = unit_text(candidate)
    return ballot(question, text if candidate.stage is not None else conclusion(text) or "")
