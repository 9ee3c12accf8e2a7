"""The paper's stage-wise retracing search."""

from __future__ import annotations

from stepsight.errors import CapabilityError, InputError
from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.expand import Search
from stepsight.search.lines import Line, ended
from stepsight.stages import Stage


async def swires(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """One SUMMARY; then rounds of captions, and of reasonings for the best of them, until these are good enough.

    LLaVA-CoT, arXiv 2411.10440v6, section 3.2.2 and Algorithm 1; its constants, and those of the released code, are
    `protocols.SWIRES`. All reasonings of all rounds stay in one pool; the best of it are concluded, and the whole
    answers judged. Section 3.2.2 stops at "at least one" good reasoning, Algorithm 1 when the second best of the pool
    is good: `passing` is 1 or 2. `settings.width` is not used.

    It does not cover: going back to the SUMMARY, which is written once.

    Raises:
        InputError: the settings make no sense, or nobody knows which score is good enough.
        CapabilityError: the judge gives no scores, or the engine cannot continue a prefix or read the pictures.
    """
    rules = settings.swires
    if judge is None or not judge.scores:
        raise CapabilityError(
            f"swires compares reasonings of different rounds, and the judge {judge.name if judge else 'none'} gives no "
            "scores",
            hint="use the judge 'reward' or 'likelihood', or the strategy 'stage-beam'",
        )
    cutoff = judge.cutoff if rules.cutoff is None else rules.cutoff
    if cutoff is None:
        raise InputError(
            f"nobody knows which score of the judge {judge.name} is good enough for swires",
            hint="find it out with `stepsight calibrate`, or set swires.cutoff",
        )
    search = Search("swires", question, engine, judge, settings, continues=True)
    with search.bounded():
        ((summary,),) = await search.grow(Stage.SUMMARY, [((), 1)], stop=(Stage.SUMMARY.close,))
        search.keep((summary,))
        if ended(summary, Stage.SUMMARY):
            return search.trace()
        begun = search.line
        pool: list[tuple[float, Line]] = []
        for turn in range(rules.retraces + 1):
            if turn:
                search.retrace(Stage.CAPTION)
            pool += await _round(search, begun, rules.captions, rules.kept)
            pool.sort(key=lambda scored: -scored[0])
            if pool:
                search.keep(pool[0][1])
            if sum(score > cutoff for score, _ in pool) >= rules.passing:
                search.agreed()
                break
        if not pool:
            return search.trace()
        best = [line for _, line in pool[: rules.concluded]]
        grown = await search.grow(Stage.CONCLUSION, [(line, 1) for line in best], stop=(Stage.CONCLUSION.close,))
        lines = [(*line, *group) for line, group in zip(best, grown, strict=True) if group]
        await search.settle(lines)
    return search.trace()


async def _round(search: Search, begun: Line, captions: int, kept: int) -> list[tuple[float, Line]]:
    """Captions, the best of them kept, and scored reasonings for each."""
    (drawn,) = await search.grow(Stage.CAPTION, [(begun, captions)], stop=(Stage.CAPTION.close,))
    ranked = await search.rank(Stage.CAPTION, begun, drawn)
    going = [(*begun, caption) for caption in ranked if not ended(caption, Stage.CAPTION)][:kept]
    if not going:
        return []
    each = captions // kept
    groups = await search.grow(Stage.REASONING, [(line, each) for line in going], stop=(Stage.REASONING.close,))
    pairs = [(line, group) for line, group in zip(going, groups, strict=True) if group]
    scored = await search.rank_all(Stage.REASONING, pairs, fewest=1)
    return [
        (score, (*line, reasoning))
        for (line, _), group in zip(pairs, scored, strict=True)
        for reasoning, score in group
        if not ended(reasoning, Stage.REASONING)
    ]
