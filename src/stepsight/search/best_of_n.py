"""Many whole answers; the judge keeps one."""

from __future__ import annotations

from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.expand import Search
from stepsight.stages import Stage


async def best_of_n(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Draw N = `settings.width` whole answers and keep the judge's best (LLaVA-CoT, arXiv 2411.10440, section 3.2).

    It does not cover: taking a good caption from one answer and a good reasoning from another; see `stage_beam`.

    Raises:
        InputError: the settings make no sense, or there is no judge for more than one answer.
        CapabilityError: the question has a picture and the engine reads none.
    """
    search = Search("best-of-n", question, engine, judge, settings, continues=False)
    with search.bounded():
        candidates = await search.expand(None, stop=Stage.CONCLUSION)
        await search.choose(None, candidates)
    return search.trace()
