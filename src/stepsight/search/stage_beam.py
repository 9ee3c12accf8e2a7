"""The paper's stage-level beam search."""

from __future__ import annotations

from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.expand import Search
from stepsight.search.lines import Line, ended
from stepsight.stages import STAGES


async def stage_beam(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """For each stage in turn: draw `settings.width` continuations, keep the judge's best, go on from it.

    LLaVA-CoT, arXiv 2411.10440, section 3.2 (version 1: "stage-level beam search"). A stage whose candidates are all
    malformed goes on with the best of them, and the faults show when the answer is parsed; a model that ends its turn
    early ends the search.

    With `settings.survivors` above 1 (ours) the best of the first stage live on as lines of their own, which share the
    width; the judge chooses within each line, and between the whole answers at the end.

    It does not cover: going back after a bad early stage (see `swires`).

    Raises:
        InputError: the settings make no sense, or there is no judge for more than one candidate.
        CapabilityError: the engine cannot continue a prefix, or reads no pictures and the question has one.
    """
    search = Search("stage-beam", question, engine, judge, settings, continues=True)
    with search.bounded():
        if settings.survivors > 1:
            await _several(search, settings)
        else:
            for stage in STAGES:
                candidates = await search.expand(stage, stop=stage)
                best = await search.choose(stage, candidates)
                if ended(best, stage):
                    break
    return search.trace()


async def _several(search: Search, settings: SearchSettings) -> None:
    lines: list[Line] = [()]
    over: list[Line] = []
    for stage in STAGES:
        each = settings.width // len(lines)
        grown = await search.grow(stage, [(line, each) for line in lines], stop=(stage.close,))
        pairs = [(line, group) for line, group in zip(lines, grown, strict=True) if group]
        ranked = await search.rank_all(stage, pairs)
        keeps = settings.survivors if len(lines) == 1 else 1
        lines = [
            (*line, candidate) for (line, _), group in zip(pairs, ranked, strict=True) for candidate, _ in group[:keeps]
        ]
        search.keep(lines[0])
        over += [line for line in lines if ended(line[-1], stage)]
        lines = [line for line in lines if not ended(line[-1], stage)]
        if not lines:
            break
    # A line that ended early is an answer only where no other came through.
    await search.settle(lines or over)
