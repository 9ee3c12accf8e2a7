"""Our own search: merges what is alike, stops when enough agrees, and goes back to the stage most likely at fault."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from stepsight.conclusions import ballot
from stepsight.protocols import Adaptive, Engine, Judge, SearchSettings
from stepsight.records import Candidate, Question, Trace
from stepsight.search.expand import Search
from stepsight.search.lines import Line, ended
from stepsight.stages import Stage, parse


@dataclass
class _Branch:
    """One caption, however often it was written, and what came of it: how often each conclusion, and the first line."""

    line: Line
    count: int = 1
    votes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    answers: dict[str, Line] = field(default_factory=dict)

    @property
    def leading(self) -> str | None:
        return max(self.votes, key=self.votes.__getitem__, default=None)

    @property
    def doubt(self) -> float:
        """The share of its conclusions that do not say what most say."""
        return 1 - max(self.votes.values()) / sum(self.votes.values()) if self.votes else 0.0


async def adaptive(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Vote over a tree: captions that are alike are one, and weigh as much as they are likely.

    A vote over whole answers writes the same caption and the same reasoning many times over; here each is written once,
    and its weight remembered. Where conclusions disagree between captions, more captions are drawn; where they disagree
    behind one caption, more reasonings for it. `settings.adaptive` has the constants; the width and the judge are
    not used.

    It does not cover: answers in free text, which hardly ever agree; a summary that misreads the question.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the engine cannot continue a prefix, or reads no pictures and the question has one.
    """
    rules = settings.adaptive
    search = Search("adaptive", question, engine, None, settings, continues=True, alone=True)
    with search.bounded():
        ((summary,),) = await search.grow(Stage.SUMMARY, [((), 1)], stop=(Stage.SUMMARY.close,))
        search.keep((summary,))
        if ended(summary, Stage.SUMMARY):
            return search.trace()
        begun, fault = search.line, Stage.CAPTION
        branches: dict[str, _Branch] = {}
        for turn in range(rules.rounds):
            if turn:
                search.retrace(fault)
            if fault is Stage.CAPTION:
                fresh = await _captions(search, begun, branches, rules.captions)
                wanted = [(branch.line, rules.reasonings) for branch in fresh]
            else:
                wanted = [(_heaviest(branches, rules).line, rules.reasonings)]
            if wanted:
                await _conclude(search, question, branches, wanted)
            weights = _weights(branches, rules)
            shares, best = _count(branches, weights)
            if best is not None:
                search.keep(best)
            if max(shares.values(), default=0.0) >= rules.agreement:
                search.agreed()
                break
            fault = _fault(branches, weights)
    return search.trace()


async def _captions(search: Search, begun: Line, branches: dict[str, _Branch], count: int) -> list[_Branch]:
    """Draw captions; the branches that are new."""
    (drawn,) = await search.grow(Stage.CAPTION, [(begun, count)], stop=(Stage.CAPTION.close,))
    fresh = []
    for caption in drawn:
        if ended(caption, Stage.CAPTION):
            continue
        text = _said(caption)
        if text in branches:
            branches[text].count += 1
        else:
            branches[text] = _Branch((*begun, caption))
            fresh.append(branches[text])
    return fresh


async def _conclude(
    search: Search, question: Question, branches: dict[str, _Branch], wanted: list[tuple[Line, int]]
) -> None:
    """Draw reasonings, and one conclusion for those behind a caption that say the same."""
    groups = await search.grow(Stage.REASONING, wanted, stop=(Stage.REASONING.close,))
    alike: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for (line, _), group in zip(wanted, groups, strict=True):
        for reasoning in group:
            if not ended(reasoning, Stage.REASONING):
                alike[line[-1].id, _said(reasoning)].append((*line, reasoning))
    firsts = [lines[0] for lines in alike.values()]
    if not firsts:
        return
    concluded = await search.grow(Stage.CONCLUSION, [(line, 1) for line in firsts], stop=(Stage.CONCLUSION.close,))
    by_caption = {branch.line[-1].id: branch for branch in branches.values()}
    for line, group, lines in zip(firsts, concluded, alike.values(), strict=True):
        for conclusion in group:
            answer = (*line, conclusion)
            parsed = parse("".join(candidate.piece.text for candidate in answer))
            if parsed.valid:
                said = ballot(question, parsed.stages[Stage.CONCLUSION])
                branch = by_caption[line[-2].id]
                branch.votes[said] += len(lines)
                branch.answers.setdefault(said, answer)


def _weights(branches: dict[str, _Branch], rules: Adaptive) -> dict[str, float]:
    """What each caption counts; together 1."""
    logprobs = {text: branch.line[-1].logprob for text, branch in branches.items()}
    if rules.weigh == "count" or None in logprobs.values():
        raw = {text: float(branch.count) for text, branch in branches.items()}
    else:
        highest = max((one for one in logprobs.values() if one is not None), default=0.0)
        raw = {text: math.exp(one - highest) for text, one in logprobs.items() if one is not None}
    total = sum(raw.values()) or 1.0
    return {text: value / total for text, value in raw.items()}


def _count(branches: dict[str, _Branch], weights: dict[str, float]) -> tuple[dict[str, float], Line | None]:
    """The share of each conclusion, and the line that speaks most for the leading one."""
    shares: dict[str, float] = defaultdict(float)
    for text, branch in branches.items():
        total = sum(branch.votes.values())
        for said, votes in branch.votes.items():
            shares[said] += weights[text] * votes / total
    if not shares:
        return shares, None
    leading = max(shares, key=shares.__getitem__)
    backing = [text for text, branch in branches.items() if leading in branch.answers]
    return shares, branches[max(backing, key=weights.__getitem__)].answers[leading]


def _fault(branches: dict[str, _Branch], weights: dict[str, float]) -> Stage:
    """Which stage to go back to: REASONING if conclusions differ more behind captions than between them."""
    leads: dict[str | None, float] = defaultdict(float)
    for text, branch in branches.items():
        leads[branch.leading] += weights[text]
    between = 1 - max(leads.values(), default=1.0)
    within = sum(weights[text] * branch.doubt for text, branch in branches.items())
    return Stage.REASONING if within > between else Stage.CAPTION


def _heaviest(branches: dict[str, _Branch], rules: Adaptive) -> _Branch:
    weights = _weights(branches, rules)
    return branches[max(branches, key=lambda text: weights[text] * (branches[text].doubt + 1e-9))]


def _said(candidate: Candidate) -> str:
    return " ".join(candidate.piece.text.split())
