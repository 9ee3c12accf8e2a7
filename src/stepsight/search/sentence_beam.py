"""The paper's sentence-level beam search, which it compares the stage-level one with."""

from __future__ import annotations

from stepsight.protocols import Engine, Judge, SearchSettings
from stepsight.records import Finish, Question, Trace
from stepsight.search.expand import Search
from stepsight.search.sentences import STOPS, standing, whole_sentence

MOST_SENTENCES = 200
"""A model that never closes its answer is stopped after so many."""


async def sentence_beam(question: Question, engine: Engine, judge: Judge | None, settings: SearchSettings) -> Trace:
    """Draw `settings.width` next sentences, keep the judge's best, go on from it until the answer is closed.

    LLaVA-CoT, arXiv 2411.10440, section 3.2 (baseline of Figure 4). A sentence ends where one ends for a reader, which
    the released code takes to be any full stop; or with a stage's closing tag; or with the model's turn.

    It does not cover: newlines as ends of sentences, as in lists without full stops.

    Raises:
        InputError: the settings make no sense, or there is no judge for more than one candidate.
        CapabilityError: the engine cannot continue a prefix, or reads no pictures and the question has one.
    """
    search = Search("sentence-beam", question, engine, judge, settings, continues=True)
    with search.bounded():
        for _ in range(MOST_SENTENCES):
            stage = standing("".join(candidate.piece.text for candidate in search.line))
            if stage is None:
                break
            (candidates,) = await search.grow(stage, [(search.line, settings.width)], stop=STOPS, finish=whole_sentence)
            best = await search.choose(stage, candidates)
            stopped = best.piece.text.rstrip().endswith(STOPS)
            if best.finish is Finish.ERROR or (best.finish is Finish.STOP and not stopped):
                break
    return search.trace()
