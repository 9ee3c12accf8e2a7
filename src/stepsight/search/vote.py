"""Many whole answers; the commonest conclusion wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stepsight.conclusions import ballot
from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Candidate, Question, Trace
from stepsight.search.expand import Search
from stepsight.stages import Stage, parse


async def vote(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Draw `settings.width` whole answers and keep the first of those that most agree with (self-consistency).

    Conclusions agree if they say the same in one form (see `conclusions.ballot`). Malformed answers have no vote; of
    equally common conclusions the one that was written first wins. No judge is asked.

    It does not cover: answers in free text, which hardly ever agree.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the question has a picture and the engine reads none.
    """
    search = Search("vote", question, engine, None, replace(settings, survivors=1), continues=False, alone=True)
    with search.bounded():
        candidates = await search.expand(None, stop=Stage.CONCLUSION)
        search.keep((elected(question, candidates),))
    return search.trace()


def elected(question: Question, candidates: Sequence[Candidate]) -> Candidate:
    """The first of those that most agree with; of malformed ones alone the first."""
    ballots = []
    for candidate in candidates:
        parsed = parse(candidate.piece.text)
        ballots.append(ballot(question, parsed.stages[Stage.CONCLUSION]) if parsed.valid else None)
    cast = [one for one in ballots if one is not None]
    most = max(cast, key=cast.count) if cast else None
    return candidates[ballots.index(most)]
