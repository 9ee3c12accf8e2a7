"""What a search goes on from: candidates that follow one another, and whether they can be followed."""

from __future__ import annotations

from dataclasses import asdict

from stepsight.protocols import Adaptive, Engine, SearchSettings, Swires
from stepsight.records import Candidate, Finish, Piece
from stepsight.stages import Stage

Line = tuple[Candidate, ...]
"""Candidates that follow one another from the beginning of the answer."""


def whole_answer(line: Line) -> Candidate:
    """Pieces that follow one another as one whole answer, known by the id of the last."""
    logprobs = [candidate.logprob for candidate in line]
    last = line[-1]
    return Candidate(
        id=last.id,
        stage=None,
        slot=last.slot,
        seed=last.seed,
        piece=Piece(text="".join(candidate.piece.text for candidate in line)),
        finish=last.finish,
        reason=last.reason,
        tokens=sum(candidate.tokens for candidate in line),
        logprob=None if None in logprobs else sum(one for one in logprobs if one is not None),
    )


def settings_record(engine: Engine, settings: SearchSettings) -> dict[str, object]:
    """What a trace says of the settings it was made with (the seed has its own field)."""
    record: dict[str, object] = {
        "engine": engine.name,
        "width": settings.width,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "greedy_first": settings.greedy_first,
    }
    if settings.answer_tokens is not None:
        record["answer_tokens"] = settings.answer_tokens
    if settings.survivors != 1:
        record["survivors"] = settings.survivors
    if settings.budget.limited:
        record["budget"] = asdict(settings.budget)
    if settings.swires != Swires():
        record["swires"] = asdict(settings.swires)
    if settings.adaptive != Adaptive():
        record["adaptive"] = asdict(settings.adaptive)
    return record


def ended(candidate: Candidate, stage: Stage) -> bool:
    """Whether the model ended its turn (or failed) instead of closing `stage`, so that nothing can follow.

    A piece that ran into `max_tokens` has not ended: the next stage continues it.
    """
    if candidate.finish is Finish.LENGTH:
        return False
    return candidate.finish is Finish.ERROR or not candidate.piece.text.rstrip().endswith(stage.close)
