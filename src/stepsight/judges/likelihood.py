"""A judge that costs nothing: the model's own confidence while it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stepsight.errors import CapabilityError
from stepsight.judges.reading import check_candidates, malformed
from stepsight.records import Candidate, Question, Verdict
from stepsight.stages import Stage


@dataclass(frozen=True)
class LikelihoodJudge:
    """Orders candidates by the log-probability of their tokens; malformed ones rank last. Ours, not the paper's.

    The plain sum favours short texts; `normalise=True` takes the mean per token. It knows nothing of the picture
    beyond what the sampling model knew, and cannot see a confident error.
    """

    normalise: bool = False
    name: str = field(default="likelihood", init=False)
    scores: bool = field(default=True, init=False, repr=False)
    probabilities: bool = field(default=False, init=False, repr=False)
    cutoff: float | None = field(default=None, repr=False)

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        """Order `candidates`, best first; `scores` are nats (per token if `normalise`). Ids decide between equals.

        Raises:
            InputError: there is no candidate, or two share an id.
            CapabilityError: a candidate has no log-probability.
        """
        check_candidates(candidates)
        scores: dict[int, float] = {}
        for candidate in candidates:
            if candidate.logprob is None:
                raise CapabilityError(
                    "the judge 'likelihood' needs log-probabilities of the candidates, and the engine gave none",
                    hint="use the judge 'written', or 'vote' with best-of-n",
                )
            scores[candidate.id] = candidate.logprob / max(1, candidate.tokens) if self.normalise else candidate.logprob
        faults = {candidate.id: fault for candidate in candidates if (fault := malformed(candidate)) is not None}
        order = sorted(scores, key=lambda one: (one in faults, -scores[one], one))
        evidence = {"malformed": {str(one): faults[one] for one in sorted(faults)}} if faults else {}
        sound = [scores[one] for one in order if one not in faults]
        return Verdict(
            judge=self.name,
            stage=stage,
            order=tuple(order),
            scores=tuple(scores[one] for one in order),
            evidence={**evidence, "normalise": self.normalise},
            ties=len(sound) - len(set(sound)),
        )
