"""One answer, decoded greedily."""

from __future__ import annotations

from dataclasses import replace

from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.expand import Search
from stepsight.stages import Stage


async def greedy(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """The answer at temperature 0: the baseline. No search; width, temperature and judge are not used.

    It does not cover: a second thought. A slip in an early stage stays.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the question has a picture and the engine reads none.
    """
    settings = replace(settings, width=1, survivors=1, temperature=0.0, greedy_first=False)
    search = Search("greedy", question, engine, None, settings, continues=False)
    with search.bounded():
        candidates = await search.expand(None, stop=Stage.CONCLUSION)
        await search.choose(None, candidates)
    return search.trace()
