"""Our own search: writes little where it is sure, and goes back to the stage most likely at fault where it is not."""

from __future__ import annotations

from stepsight.conclusions import ballot
from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.branches import Branch, Branches
from stepsight.search.expand import Search
from stepsight.search.lines import Line, ended
from stepsight.stages import Stage, parse


async def adaptive(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Vote over a tree whose branches weigh as much as they are probably right.

    A vote over whole answers writes the same caption and the same reasoning many times over; here each is written once.
    With a judge whose scores are probabilities (`judge.probabilities`), only captions that may be right get reasonings,
    which are held right as the model holds them likely; an answer that is probably right ends the search, and if none
    is, the stage that is least probably right is drawn again. Without one, captions weigh as the model holds them
    likely, conclusions that agree end the search, and the stage about which they disagree is drawn again.
    `settings.adaptive` has the constants; the width is not used.

    It does not cover: answers in free text, which hardly ever agree; a summary that misreads the question.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the engine cannot continue a prefix, or reads no pictures and the question has one.
    """
    rules = settings.adaptive
    known = judge is not None and judge.probabilities and rules.weigh == "auto"
    search = Search("adaptive", question, engine, judge if known else None, settings, continues=True, alone=True)
    with search.bounded():
        ((summary,),) = await search.grow(Stage.SUMMARY, [((), 1)], stop=(Stage.SUMMARY.close,))
        search.keep((summary,))
        if ended(summary, Stage.SUMMARY):
            return search.trace()
        begun, fault = search.line, Stage.CAPTION
        branches = Branches(rules, known=known)
        for turn in range(rules.rounds):
            if turn:
                search.retrace(fault)
            if fault is Stage.CAPTION:
                fresh = await _captions(search, begun, branches, rules.captions)
                wanted = [(branch, rules.reasonings) for branch in branches.promising(fresh)]
            else:
                wanted = [(branches.again(), max(rules.reasonings, rules.captions // 2 if known else 1))]
            if wanted:
                await _conclude(search, question, branches, wanted)
            best = branches.best()
            if best is not None:
                search.keep(best)
            if branches.settled():
                search.agreed()
                break
            fault = branches.fault()
    return search.trace()


async def _captions(search: Search, begun: Line, branches: Branches, count: int) -> list[Branch]:
    """Draw captions; the branches that are new, with what the judge holds of them."""
    (drawn,) = await search.grow(Stage.CAPTION, [(begun, count)], stop=(Stage.CAPTION.close,))
    fresh = [
        branch
        for caption in drawn
        if not ended(caption, Stage.CAPTION)
        if (branch := branches.add((*begun, caption))) is not None
    ]
    if fresh and branches.known:
        (ranked,) = await search.rank_all(Stage.CAPTION, [(begun, [branch.line[-1] for branch in fresh])], fewest=1)
        score = {candidate.id: value for candidate, value in ranked}
        for branch in fresh:
            branch.score = score[branch.line[-1].id]
    return fresh


async def _conclude(search: Search, question: Question, branches: Branches, wanted: list[tuple[Branch, int]]) -> None:
    """Draw reasonings, and one conclusion for those behind a caption that say the same."""
    lines = [(branch.line, count) for branch, count in wanted]
    groups = await search.grow(Stage.REASONING, lines, stop=(Stage.REASONING.close,))
    going: list[tuple[Branch, Line, int]] = []
    for (branch, _), group in zip(wanted, groups, strict=True):
        alike: dict[str, list[Line]] = {}
        for reasoning in group:
            if not ended(reasoning, Stage.REASONING):
                said = " ".join(reasoning.piece.text.split())
                alike.setdefault(said, []).append((*branch.line, reasoning))
        going += [(branch, same[0], len(same)) for said, same in alike.items() if branch.is_new(said, len(same))]
    if not going:
        return
    scores = await _scores(search, branches, [(branch, line) for branch, line, _ in going])
    concluded = await search.grow(Stage.CONCLUSION, [(line, 1) for _, line, _ in going], stop=(Stage.CONCLUSION.close,))
    for (branch, line, count), score, group in zip(going, scores, concluded, strict=True):
        for conclusion in group:
            answer = (*line, conclusion)
            parsed = parse("".join(candidate.piece.text for candidate in answer))
            if parsed.valid:
                branch.enter(ballot(question, parsed.stages[Stage.CONCLUSION]), answer, score, count)


async def _scores(search: Search, branches: Branches, reasoned: list[tuple[Branch, Line]]) -> list[float]:
    """The log-probability that each line is right up to its reasoning; NaN if nobody knows."""
    if branches.judged == "both":
        ranked = await search.rank_all(Stage.REASONING, [(line[:-1], [line[-1]]) for _, line in reasoned], fewest=1)
        return [score for ((_, score),) in ranked]
    return [branch.score + (line[-1].logprob or 0.0) for branch, line in reasoned]
