"""A judge's report card: stage by stage, how far its verdicts agree with the truth, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from stepsight.evaluation.rejudging import decisions_of
from stepsight.evaluation.statistics import Share, Span, auroc, share_of
from stepsight.judges.oracle import Truth
from stepsight.records import Candidate, Question, Record, Trace, Verdict

WHOLE = "WHOLE ANSWER"


class StageCard(Record):
    """How a judge fares at one stage.

    decisions: verdicts looked at. pairs: of two candidates of which one is true, how often the true one ranks higher.
    firm: the same among pairs that both orders agree on. consistent: comparisons whose two orders agree. unreadable:
    comparisons without a readable verdict. auroc: true against false over all questions, of what it holds of a stage by
    itself; auroc_so_far: of its scores, where all up to the candidate is true against where it is not. picks: of
    decisions with true and false candidates, how often the best is true; beside it what chance and the likeliest
    candidate get. longer: of two candidates that are equally true, how often the longer ranks higher.
    tokens: computed per decision; calls: requests per decision.
    """

    decisions: int
    pairs: Share
    firm: Share
    consistent: Share
    unreadable: Share
    auroc: Span
    auroc_so_far: Span
    picks: Share
    by_chance: float | None
    likeliest: float | None
    longer: Share
    tokens: float
    calls: float
    advice: str


class JudgeCard(Record):
    """The card of a judge, by stage."""

    judge: str
    traces: int
    stages: dict[str, StageCard]


@dataclass
class _Tally:
    decisions: int = 0
    pairs: list[bool] = field(default_factory=list)
    firm: list[bool] = field(default_factory=list)
    consistent: list[bool] = field(default_factory=list)
    unreadable: list[bool] = field(default_factory=list)
    scored: list[list[tuple[float, bool]]] = field(default_factory=list)
    scored_so_far: list[list[tuple[float, bool]]] = field(default_factory=list)
    picks: list[bool] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    likeliest: list[bool] = field(default_factory=list)
    longer: list[bool] = field(default_factory=list)
    tokens: int = 0
    calls: int = 0


def judge_card(traces: Sequence[Trace], truth: Truth) -> JudgeCard:
    """The card of the judge whose verdicts are in `traces`; `truth` knows which candidates are true."""
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    for trace in traces:
        for question, line, candidates, verdict in _judged(trace):
            known = [(one, truth(question, line, one)) for one in candidates]
            told = {one.id: true for one, true in known if true is not None}
            tally = tallies[verdict.stage.value if verdict.stage else WHOLE]
            _count(tally, verdict, [one for one in candidates if one.id in told], told)
            sound = all(truth(question, line[:place], one) is not False for place, one in enumerate(line))
            _count_scores(tally, verdict, told, sound)
    name = next((trace.judge for trace in traces if trace.judge), "none")
    return JudgeCard(judge=name, traces=len(traces), stages={stage: _card(one) for stage, one in tallies.items()})


def _judged(trace: Trace) -> Iterator[tuple[Question, tuple[Candidate, ...], tuple[Candidate, ...], Verdict]]:
    verdicts = {frozenset(verdict.order): verdict for verdict in trace.verdicts}
    for decision in decisions_of(trace):
        verdict = verdicts.get(frozenset(one.id for one in decision.candidates))
        if verdict is not None:
            yield decision.question, decision.line, decision.candidates, verdict


def _count(tally: _Tally, verdict: Verdict, candidates: Sequence[Candidate], told: dict[int, bool]) -> None:
    tally.decisions += 1
    tally.tokens += verdict.tokens
    tally.calls += verdict.calls
    rank = {one: place for place, one in enumerate(verdict.order)}
    outcomes = {frozenset((one.first, one.second)): one.outcome for one in verdict.comparisons}
    tally.consistent += [one.outcome != "tie" for one in verdict.comparisons if one.outcome != "unreadable"]
    tally.unreadable += [one.outcome == "unreadable" for one in verdict.comparisons]
    for one, other in combinations(candidates, 2):
        if one.piece.text == other.piece.text:
            continue
        if told[one.id] == told[other.id]:
            if one.tokens != other.tokens:
                tally.longer.append((rank[one.id] < rank[other.id]) == (one.tokens > other.tokens))
            continue
        right = (rank[one.id] < rank[other.id]) == told[one.id]
        tally.pairs.append(right)
        if outcomes.get(frozenset((one.id, other.id))) in ("first", "second"):
            tally.firm.append(right)
    if len(set(told.values())) == 2:
        best = next(one for one in verdict.order if one in told)
        tally.picks.append(told[best])
        tally.chance.append(sum(told.values()) / len(told))
        likely = max(candidates, key=lambda one: -1e9 if one.logprob is None else one.logprob)
        tally.likeliest.append(told[likely.id])


def _count_scores(tally: _Tally, verdict: Verdict, told: dict[int, bool], sound: bool) -> None:
    """Scores with truths; `sound`: all that was chosen before is true, as far as anybody knows."""
    if verdict.scores is None:
        return
    scores = dict(zip(verdict.order, verdict.scores, strict=True))
    # A reward model's values are by stage, the last that of the candidate's own.
    values = verdict.evidence.get("values", {})
    own = {one: values[str(one)][-1] if str(one) in values else scores[one] for one in told}
    tally.scored.append([(own[one], true) for one, true in told.items()])
    tally.scored_so_far.append([(scores[one], true and sound) for one, true in told.items()])


def _card(tally: _Tally) -> StageCard:
    picks = share_of(tally.picks)
    by_chance = sum(tally.chance) / len(tally.chance) if tally.chance else None
    return StageCard(
        decisions=tally.decisions,
        pairs=share_of(tally.pairs),
        firm=share_of(tally.firm),
        consistent=share_of(tally.consistent),
        unreadable=share_of(tally.unreadable),
        auroc=auroc(tally.scored),
        auroc_so_far=auroc(tally.scored_so_far),
        picks=picks,
        by_chance=by_chance,
        likeliest=sum(tally.likeliest) / len(tally.likeliest) if tally.likeliest else None,
        longer=share_of(tally.longer),
        tokens=tally.tokens / max(1, tally.decisions),
        calls=tally.calls / max(1, tally.decisions),
        advice=_advise(picks, by_chance, share_of(tally.pairs)),
    )


def _advise(picks: Share, by_chance: float | None, pairs: Share) -> str:
    """In words, whether to use it; the intervals say what is shown."""
    if picks.low is None or picks.high is None or by_chance is None or pairs.low is None:
        return "nothing to tell: no decision here was between true and false"
    if picks.low > by_chance:
        return "use it: it picks the true ones more often than chance"
    if picks.high < by_chance:
        return "do not use it: chance picks better; vote instead"
    if pairs.low > 0.5:
        return "perhaps: it tells pairs better than a coin, but its picks are not shown to be better than chance"
    return "not shown to be better than chance: vote instead, or ask about more questions"
