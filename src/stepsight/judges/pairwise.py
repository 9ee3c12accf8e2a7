"""The paper's judge, made fair: the model itself compares candidates in pairs, in both orders, without sampling.

What LLaVA-CoT's released code does (facts from its `inference` folder) and what is done here instead:

    one order per pair, so position decides           both orders in one batch; disagreement is a tie, and counted
    verdicts are sampled and searched for a phrase    the label's log-probability is read from one forward pass
    an unreadable reply means "the second wins"       "unreadable" is an outcome: it speaks for nobody, and is counted
    the screen drops candidate 1 before it looks      every reasoning is screened, and only a reasoning judged wrong
    at candidate 2                                    beside one judged right is out
    a candidate without its tag crashes the search    malformed candidates rank last, unasked, and say why
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepsight.errors import CapabilityError
from stepsight.judges.reading import check_candidates, malformed, stage_so_far, stage_texts, unit_text
from stepsight.judges.tournament import Duel, Pair, Ties, knock_out, round_robin
from stepsight.prompts.judge import JudgePrompts, pair_turns, screen_turns, sentence_turns, whole_text
from stepsight.protocols import Engine, ScoreRequest, Turn
from stepsight.records import Candidate, Comparison, Question, Verdict
from stepsight.seeds import derive_seed
from stepsight.stages import Stage

_FLOOR = -100.0
"""Log-probabilities below are read as this; keeps minus infinity out of differences and records."""


@dataclass(frozen=True)
class Opinion:
    """What a model holds of a request's options: their log-probabilities, and its words where it was asked for any.

    `tokens` counts those computed, of prompt and reply; `cached` those reused.
    """

    logprobs: tuple[float, ...]
    tokens: int
    cached: int
    said: str | None = None


@dataclass(frozen=True)
class SelfJudge:
    """Orders candidates by asking a model which of two is better (LLaVA-CoT, arXiv 2411.10440, section 3.2).

    Candidates with the same text are one contestant and stand side by side in the order. Up to `all_pairs_up_to`
    contestants, all pairs are asked in one batch; more of them meet in a knock-out. For REASONING every text is first
    screened for correctness without the picture, given the CAPTION. Only those that may still win are compared:
    malformed ones rank last, above them those judged incorrect (by the screen's log-odds) if another was judged
    correct. If all are malformed, they are compared by what they wrote. Ids decide what nothing else does, so the
    order in which candidates are passed does not matter.

    It does not cover: reasons in words (the label is all that is asked for), and scores that could be compared
    between questions.

    Args:
        engine: must give log-probabilities.
        prompts: the judging texts; see `judge_prompts`.
        ties: a pair whose two orders disagree goes to the candidate that was likelier to be written ("likelihood",
            ours), by its mean log-odds, in which position bias cancels ("log-odds"; also where a candidate has no
            log-probability), or to the lower id ("index"). It counts as a tie in any case.
        min_mass: a comparison is unreadable if the options hold less probability than this in either order.
        all_pairs_up_to: the largest number of contestants that all meet each other.
        seed: for the draw of the knock-out.

    Raises:
        CapabilityError: the engine gives no log-probabilities.
    """

    engine: Engine
    prompts: JudgePrompts
    ties: Ties = "likelihood"
    min_mass: float = 0.05
    all_pairs_up_to: int = 6
    seed: int = 0
    name: str = field(default="self", init=False)
    scores: bool = field(default=False, init=False, repr=False)
    probabilities: bool = field(default=False, init=False, repr=False)
    cutoff: float | None = field(default=None, init=False, repr=False)
    why_unreadable: str = field(default="the options hold too little probability", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.engine.capabilities.logprobs:
            raise CapabilityError(
                f"the judge 'self' reads log-probabilities, and the engine {self.engine.name} gives none",
                hint="use the judge 'written', which reads what the model writes, or 'vote' with best-of-n",
            )

    async def ask(self, requests: Sequence[ScoreRequest]) -> list[Opinion]:
        """The model's opinion on each request, in order; one batch."""
        results = await self.engine.score(requests)
        return [Opinion(result.logprobs, result.computed, result.cached) for result in results]

    async def judge(
        self, question: Question, stage: Stage | None, chosen: Sequence[Candidate], candidates: Sequence[Candidate]
    ) -> Verdict:
        """Order `candidates`, best first; see the class for the rules.

        Raises:
            InputError: there is no candidate, or two share an id.
        """
        check_candidates(candidates)
        sentences = candidates[0].sentence
        alone = sentences and bool(self.prompts.sentence)
        before = "".join(candidate.piece.text for candidate in chosen).strip() if alone else None
        bout = _Bout(self, question, stage, stage_texts(chosen), before)
        ordered = sorted(candidates, key=lambda candidate: candidate.id)
        faults = {candidate.id: fault for candidate in ordered if (fault := malformed(candidate)) is not None}
        sound = [candidate for candidate in ordered if candidate.id not in faults]
        contenders, unasked = (sound, list(faults)) if sound else (ordered, [])

        # 1. One contestant per text, known by its lowest id.
        same: dict[str, list[int]] = defaultdict(list)
        for candidate in contenders:
            text = stage_so_far(chosen, candidate) if sentences and not alone else unit_text(candidate)
            same[text if stage is not None else whole_text(self.prompts, text)].append(candidate.id)
        bout.texts = {ids[0]: text for text, ids in same.items()}
        twins = {ids[0]: ids for ids in same.values()}
        bout.likely = {candidate.id: candidate.logprob for candidate in contenders}

        # 2. Screen, compare, and line up.
        ids = list(bout.texts)
        out = await bout.screen(ids) if stage is Stage.REASONING and sound and len(ids) > 1 and not sentences else []
        ids = [one for one in ids if one not in out]
        if len(ids) <= self.all_pairs_up_to:
            ranked = await round_robin(ids, bout.compare, self.ties)
        else:
            draw = derive_seed(self.seed, question.id, f"draw {stage or 'whole'}", 0)
            ranked = await knock_out(ids, bout.compare, self.ties, draw)
        order = [one for contestant in (*ranked, *out) for one in twins[contestant]]

        evidence: dict[str, Any] = {"prompts": self.prompts.version, "digest": self.prompts.digest}
        if faults:
            evidence["malformed"] = {str(one): fault for one, fault in faults.items()}
        if len(twins) < len(contenders):
            evidence["same_text"] = [ids for ids in twins.values() if len(ids) > 1]
        if bout.screened:
            evidence["screen"] = bout.screened
        return Verdict(
            judge=self.name,
            stage=stage,
            order=(*order, *unasked),
            comparisons=tuple(bout.comparisons),
            evidence=evidence,
            ties=sum(one.outcome == "tie" for one in bout.comparisons),
            unreadable=bout.unreadable,
            calls=bout.calls,
            tokens=bout.tokens,
            cached=bout.cached,
        )


@dataclass
class _Bout:
    """One judgement under way: asks the engine and keeps the books."""

    judge: SelfJudge
    question: Question
    stage: Stage | None
    hints: Mapping[Stage, str]
    before: str | None
    texts: Mapping[int, str] = field(default_factory=dict)
    likely: Mapping[int, float | None] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    screened: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable: int = 0
    calls: int = 0
    tokens: int = 0
    cached: int = 0

    async def compare(self, pairs: Sequence[Pair]) -> list[Duel]:
        """Ask for each pair in both orders; one batch."""
        prompts = self.judge.prompts
        requests = [
            ScoreRequest(
                turns=self._turns(self.texts[one], self.texts[other]),
                options=prompts.options,
            )
            for pair in pairs
            for one, other in (pair, pair[::-1])
        ]
        opinions = await self._ask(requests)
        return [
            self._duel(pair, forward, backward)
            for pair, forward, backward in zip(pairs, opinions[::2], opinions[1::2], strict=True)
        ]

    def _turns(self, first: str, second: str) -> tuple[Turn, ...]:
        prompts = self.judge.prompts
        if self.before is not None:
            return sentence_turns(prompts, self.question, self.before, first, second)
        return pair_turns(prompts, self.question, self.stage, self.hints, first, second)

    async def screen(self, ids: Sequence[int]) -> list[int]:
        """Who is out because judged incorrect beside one judged correct; the least incorrect first."""
        caption = self.hints.get(Stage.CAPTION)
        if caption is None:
            return []
        prompts = self.judge.prompts
        requests = [
            ScoreRequest(
                turns=screen_turns(prompts, self.question, caption, self.texts[one]), options=prompts.screen_options
            )
            for one in ids
        ]
        odds: dict[int, float] = {}
        for one, opinion in zip(ids, await self._ask(requests), strict=True):
            logprobs = _floored(opinion)
            readable = self._readable(logprobs)
            self.screened[str(one)] = {"logprobs": logprobs, "readable": readable}
            if opinion.said is not None:
                self.screened[str(one)]["said"] = opinion.said
            if readable:
                odds[one] = logprobs[0] - logprobs[1]
            else:
                self.unreadable += 1
        if not any(value > 0 for value in odds.values()):
            return []
        return sorted((one for one in odds if odds[one] < 0), key=lambda one: (-odds[one], one))

    def _duel(self, pair: Pair, forward: Opinion, backward: Opinion) -> Duel:
        ab, ba = _floored(forward), _floored(backward)
        evidence: dict[str, Any] = {"forward": ab, "backward": ba}
        if forward.said is not None or backward.said is not None:
            evidence["said"] = {"forward": forward.said, "backward": backward.said}
        if self._readable(ab) and self._readable(ba):
            first_ahead, second_ahead = ab[0] - ab[1], ba[0] - ba[1]
            log_odds = evidence["log_odds"] = (first_ahead - second_ahead) / 2
            if first_ahead > 0 > second_ahead:
                duel, reason = Duel("first", log_odds), "preferred in both orders"
            elif first_ahead < 0 < second_ahead:
                duel, reason = Duel("second", log_odds), "preferred in both orders"
            else:
                duel, reason = Duel("tie", self._lean(pair, log_odds, evidence)), "the two orders disagree"
        else:
            duel, reason = Duel("unreadable", None), self.judge.why_unreadable
            self.unreadable += 1
        self.comparisons.append(
            Comparison(first=pair[0], second=pair[1], outcome=duel.outcome, reason=reason, evidence=evidence)
        )
        return duel

    def _lean(self, pair: Pair, log_odds: float, evidence: dict[str, Any]) -> float:
        """What speaks for the first of a pair about which the judge says nothing firm."""
        first, second = (self.likely[one] for one in pair)
        if self.judge.ties != "likelihood" or first is None or second is None:
            return log_odds
        evidence["likelier_by"] = max(_FLOOR, first) - max(_FLOOR, second)
        return float(evidence["likelier_by"])

    async def _ask(self, requests: Sequence[ScoreRequest]) -> list[Opinion]:
        opinions = await self.judge.ask(requests)
        self.calls += len(requests)
        self.tokens += sum(opinion.tokens for opinion in opinions)
        self.cached += sum(opinion.cached for opinion in opinions)
        return opinions

    def _readable(self, logprobs: Sequence[float]) -> bool:
        return sum(math.exp(logprob) for logprob in logprobs) >= self.judge.min_mass


def _floored(opinion: Opinion) -> list[float]:
    return [max(_FLOOR, logprob) for logprob in opinion.logprobs]
