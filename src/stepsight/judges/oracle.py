"""The judge that knows the truth: how much a search could win by judging better. For studies only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stepsight.judges.reading import check_candidates
from stepsight.records import Candidate, Question, Verdict
from stepsight.stages import Stage

Truth = Callable[[Question, Sequence[Candidate], Candidate], bool | None]
"""Whether a candidate is true, given the question and what was chosen before it; None where nobody knows."""


@dataclass(frozen=True)
class OracleJudge:
    """Prefers what is true. Among equals, and where nothing is known, the likelier candidate comes first.

    It does not cover: how far from the truth a candidate is.
    """

    truth: Truth
    name: str = field(default="oracle", init=False)
    scores: bool = field(default=True, init=False, repr=False)
    probabilities: bool = field(default=True, init=False, repr=False)
    cutoff: float | None = field(default=-0.5, init=False, repr=False)

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        """Order `candidates`, true ones first; see `scored` for the scores.

        Raises:
            InputError: there is no candidate, or two share an id.
        """
        check_candidates(candidates)
        known = {one.id: self.truth(question, chosen, one) for one in candidates}
        before = sum(scored(self.truth(question, chosen[:place], one)) for place, one in enumerate(chosen))
        scores = {one: before + scored(truth) for one, truth in known.items()}
        likely = {one.id: -1e9 if one.logprob is None else one.logprob for one in candidates}
        order = sorted(scores, key=lambda one: (-scores[one], -likely[one], one))
        return Verdict(
            judge=self.name,
            stage=stage,
            order=tuple(order),
            scores=tuple(scores[one] for one in order),
            evidence={"values": {str(one): [scored(truth)] for one, truth in known.items()}},
        )


def scored(truth: bool | None) -> float:
    """A log-probability: 0 if something is true, -20 if it is false, -0.01 where nobody knows."""
    return -0.01 if truth is None else 0.0 if truth else -20.0
