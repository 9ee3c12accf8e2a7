"""The paper's stage-level beam search."""

from __future__ import annotations

from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.expand import Search, ended
from stepsight.stages import STAGES


async def stage_beam(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """For each stage in turn: draw `settings.width` continuations, keep the judge's best, go on from it.

    LLaVA-CoT, arXiv 2411.10440, section 3.2 (version 1: "stage-level beam search"). A stage whose candidates are all
    malformed goes on with the best of them, and the faults show when the answer is parsed; a model that ends its turn
    early ends the search.

    It does not cover: going back after a bad early stage. One candidate survives each stage, and for good.

    Raises:
        InputError: the settings make no sense, or there is no judge for more than one candidate.
        CapabilityError: the engine cannot continue a prefix, or reads no pictures and the question has one.
    """
    search = Search("stage-beam", question, engine, judge, settings, continues=True)
    for stage in STAGES:
        candidates = await search.expand(stage, stop=stage)
        best = await search.choose(stage, candidates)
        if ended(best, stage):
            break
    return search.trace()
