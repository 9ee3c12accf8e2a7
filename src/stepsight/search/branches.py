"""What the adaptive search knows: captions, answers behind them, how probably each is right, and what to do next."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from stepsight.protocols import Adaptive
from stepsight.search.lines import Line
from stepsight.stages import Stage


@dataclass(frozen=True)
class Answer:
    """A whole answer; `score` is the log-probability that its stages up to REASONING are right, NaN if nobody knows."""

    line: Line
    score: float


@dataclass(eq=False)
class Branch:
    """One caption, however often it was written, and what came of it.

    `score` is the log-probability that it is right; NaN if nobody knows. `again` says that its reasonings were drawn a
    second time. `votes` counts reasonings by what they came to.
    """

    line: Line
    count: int = 1
    score: float = math.nan
    again: bool = False
    votes: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Answer] = field(default_factory=dict)
    reasonings: dict[str, str] = field(default_factory=dict)

    def is_new(self, reasoning: str, count: int) -> bool:
        """Whether a reasoning was not written before; if it was, what it came to gets its votes."""
        if reasoning in self.reasonings:
            said = self.reasonings[reasoning]
            if said:
                self.votes[said] += count
            return False
        self.reasonings[reasoning] = ""
        return True

    def enter(self, said: str, line: Line, score: float, count: int) -> None:
        """Note an answer that `count` reasonings have come to; of equal answers the most probable is kept."""
        self.reasonings[" ".join(line[-2].piece.text.split())] = said
        self.votes[said] += count
        held = self.answers.get(said)
        if held is None or _least(score) > _least(held.score):
            self.answers[said] = Answer(line, score)

    @property
    def leading(self) -> str | None:
        """What most of its reasonings come to."""
        return max(self.votes, key=self.votes.__getitem__, default=None)

    @property
    def doubt(self) -> float:
        """The share of its conclusions that do not say what most say."""
        return 1 - max(self.votes.values()) / sum(self.votes.values()) if self.votes else 0.0


class Branches:
    """The captions of a search. `known`: a judge says how probably they, and what follows from them, are right."""

    def __init__(self, rules: Adaptive, *, known: bool) -> None:
        self.known = known
        self._rules = rules
        self._held: dict[str, Branch] = {}

    def add(self, line: Line) -> Branch | None:
        """The branch of a caption; None if that was written before."""
        said = " ".join(line[-1].piece.text.split())
        if said in self._held:
            self._held[said].count += 1
            return None
        self._held[said] = Branch(line)
        return self._held[said]

    def promising(self, fresh: Sequence[Branch]) -> list[Branch]:
        """Those of some branches that are worth a reasoning: with a judge, if they hold a share of all probability."""
        if not self.known:
            return list(fresh)
        weights = self._weights()
        return [branch for branch in fresh if weights[branch] >= self._rules.least]

    @property
    def judged(self) -> str:
        """What the judge scores: `captions`, `both`, or `nothing`."""
        return self._rules.judged if self.known else "nothing"

    def again(self) -> Branch:
        """The branch whose reasoning is to be drawn again, which it notes."""
        weights = self._weights()
        foremost = self._foremost() if self.known else None
        branch = foremost[0] if foremost else max(weights, key=lambda one: weights[one] * (one.doubt + 1e-9))
        branch.again = True
        return branch

    def best(self) -> Line | None:
        """The line that speaks most for the leading conclusion."""
        shares = self._shares()
        if not shares:
            return None
        leading, weights = max(shares, key=shares.__getitem__), self._weights()
        backing = [branch for branch in self._held.values() if leading in branch.answers]
        if self.known:
            return max((branch.answers[leading] for branch in backing), key=lambda answer: _least(answer.score)).line
        return max(backing, key=weights.__getitem__).answers[leading].line

    def settled(self) -> bool:
        """Whether enough is known: an answer is probably right, or (without a judge) conclusions agree."""
        shares = self._shares()
        return max(shares.values(), default=0.0) >= (self._rules.sure if self.known else self._rules.agreement)

    def fault(self) -> Stage:
        """Which stage to go back to.

        With a judge, the one that is less probably right in the most probable answer, REASONING once for a caption.
        Without, REASONING if conclusions differ more behind captions than between them.
        """
        if self.known:
            foremost = self._foremost()
            if foremost is None or foremost[0].again:
                return Stage.CAPTION
            branch, answer = foremost
            return Stage.REASONING if answer.score - branch.score < branch.score else Stage.CAPTION
        weights = self._weights()
        leads: dict[str | None, float] = defaultdict(float)
        for branch, weight in weights.items():
            leads[branch.leading] += weight
        between = 1 - max(leads.values(), default=1.0)
        within = sum(weight * branch.doubt for branch, weight in weights.items())
        return Stage.REASONING if within > between else Stage.CAPTION

    def _foremost(self) -> tuple[Branch, Answer] | None:
        """The most probable answer, with its caption."""
        answers = [(branch, answer) for branch in self._held.values() for answer in branch.answers.values()]
        return max(answers, key=lambda pair: _least(pair[1].score), default=None)

    def _weights(self) -> dict[Branch, float]:
        """What each caption counts; together 1."""
        logprobs = {branch: branch.score if self.known else branch.line[-1].logprob for branch in self._held.values()}
        if not self.known and (self._rules.weigh == "count" or None in logprobs.values()):
            raw = {branch: float(branch.count) for branch in logprobs}
        else:
            told = {branch: one for branch, one in logprobs.items() if one is not None and not math.isnan(one)}
            highest = max(told.values(), default=0.0)
            raw = {branch: math.exp(told[branch] - highest) if branch in told else 0.0 for branch in logprobs}
        total = sum(raw.values()) or 1.0
        return {branch: value / total for branch, value in raw.items()}

    def _shares(self) -> dict[str, float]:
        """What speaks for each conclusion: the probability that one of its answers is right, or its share of votes."""
        shares: dict[str, float] = defaultdict(float)
        if self.known:
            for branch in self._held.values():
                for said, answer in branch.answers.items():
                    shares[said] += math.exp(_least(answer.score))
            return shares
        for branch, weight in self._weights().items():
            total = sum(branch.votes.values())
            for said, votes in branch.votes.items():
                shares[said] += weight * votes / total
        return shares


def _least(score: float) -> float:
    """A score, the least of all where nobody knows it: time was up before the judge could say."""
    return -math.inf if math.isnan(score) else score
