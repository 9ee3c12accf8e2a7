"""How a model is asked that was trained on rows of one form or another. Each is a strategy, greedy and without choice.

staged                      `search.greedy`: up to the end of the CONCLUSION
direct, no-tags, shuffled   `whole`: up to the end of the turn, as no tag says that the answer is there
apart                       `in_turn`: four requests, one for each stage, given what was written before
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from stepsight.data.ablations import Form
from stepsight.prompts.answer import question_text
from stepsight.prompts.tasks import VERSION, stage_task
from stepsight.protocols import Engine, Judge, SampleRequest, SearchSettings, Strategy, Turn
from stepsight.records import Candidate, Question, Trace, Usage
from stepsight.search.checks import check_search
from stepsight.search.expand import Search
from stepsight.search.greedy import greedy
from stepsight.search.lines import settings_record
from stepsight.seeds import derive_seed
from stepsight.stages import STAGES, Stage, parse


async def whole(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """One answer at temperature 0, to the end of the turn; width, temperature and judge are not used.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the question has a picture and the engine reads none.
    """
    search = Search("whole", question, engine, None, _alone(settings), continues=False)
    with search.bounded():
        ((answer,),) = await search.grow(None, [((), 1)], stop=())
        search.keep((answer,))
    return search.trace()


async def in_turn(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Each stage in a request of its own, which gives the stages before it as text; at temperature 0.

    All four together may have `settings.max_tokens`. A stage that cannot be read is not given to the next, which is
    asked all the same. Width, temperature and judge are not used, and a budget is not covered.

    Raises:
        InputError: the settings make no sense.
        CapabilityError: the question has a picture and the engine reads none.
    """
    settings = _alone(settings)
    check_search("in-turn", question, engine, settings, continues=False, judged=True)
    begun = time.perf_counter()
    earlier: dict[Stage, str] = {}
    candidates: list[Candidate] = []
    left, cached = settings.max_tokens, 0
    for stage in STAGES:
        if not left:
            break
        seed = derive_seed(settings.seed, question.id, stage, 0)
        asked = Turn("user", stage_task(question_text(question), earlier, stage), question.images)
        request = SampleRequest((asked,), (seed,), stop=(stage.close,), max_tokens=left, temperature=0.0)
        result = await engine.sample(request)
        (said,) = result.completions
        left, cached = left - min(left, said.tokens), cached + result.cached
        if text := parse(said.piece.text).stages.get(stage):
            earlier[stage] = text
        candidates.append(
            Candidate(
                id=len(candidates),
                stage=stage,
                slot=0,
                seed=seed,
                piece=said.piece,
                finish=said.finish,
                tokens=said.tokens,
                parent=candidates[-1].id if candidates else None,
                logprob=said.logprob,
                reason=said.reason,
            )
        )
    return Trace(
        question=question,
        strategy="in-turn",
        judge=None,
        seed=settings.seed,
        settings={**settings_record(engine, settings), "prompts": VERSION},
        candidates=tuple(candidates),
        verdicts=(),
        chosen=tuple(candidate.id for candidate in candidates),
        usage=Usage(kept=sum(candidate.tokens for candidate in candidates), cached=cached),
        seconds=time.perf_counter() - begun,
    )


def _alone(settings: SearchSettings) -> SearchSettings:
    return replace(settings, width=1, survivors=1, temperature=0.0, greedy_first=False)


ASKED: Mapping[Form, Strategy] = MappingProxyType(
    {Form.STAGED: greedy, Form.DIRECT: whole, Form.NO_TAGS: whole, Form.SHUFFLED: whole, Form.APART: in_turn}
)
"""By the form of its rows, how a model is asked."""
