"""What a judge reads in a candidate: the text of its unit, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from stepsight.errors import InputError
from stepsight.records import Candidate, Finish
from stepsight.stages import FaultKind, Stage, parse

FAILED = "the engine reported an error"
"""What is wrong with a candidate that the engine gave up; the engine's own words may follow."""


def malformed(candidate: Candidate) -> str | None:
    """Why a candidate cannot stand as its stage (or, whole, as an answer); None if it can.

    A sentence must only have come to its end. A stage must be its opening tag, some text without tags, and its closing
    tag, with nothing but white space before and after. A whole answer must parse without faults.
    """
    if candidate.finish is Finish.LENGTH:
        return "cut off at the token limit"
    if candidate.finish is Finish.ERROR:
        return FAILED + (f": {candidate.reason}" if candidate.reason else "")
    if candidate.sentence:
        return None if candidate.piece.text.strip() else "nothing is written"
    parsed = parse(candidate.piece.text)
    stage = candidate.stage
    if stage is None:
        faults = parsed.faults
    else:
        faults = tuple(fault for fault in parsed.faults if fault.kind is not FaultKind.MISSING or fault.stage is stage)
    if faults:
        return "; ".join(str(fault) for fault in faults)
    if stage is not None and len(parsed.stages) > 1:
        return f"other stages are written beside {stage}"
    return None


def unit_text(candidate: Candidate) -> str:
    """The text between the tags of a well-formed stage; otherwise what was written, stripped."""
    text = candidate.piece.text
    if candidate.stage is None or candidate.sentence or malformed(candidate) is not None:
        return text.strip()
    return parse(text).stages[candidate.stage]


def stage_texts(chosen: Sequence[Candidate]) -> dict[Stage, str]:
    """The texts of the stages chosen so far; a malformed or unfinished stage has none."""
    if any(candidate.sentence for candidate in chosen):
        return dict(parse("".join(candidate.piece.text for candidate in chosen)).stages)
    return {
        candidate.stage: unit_text(candidate)
        for candidate in chosen
        if candidate.stage is not None and malformed(candidate) is None
    }


def stage_so_far(chosen: Sequence[Candidate], sentence: Candidate) -> str:
    """What stands in the stage that a sentence belongs to, up to that sentence, without tags."""
    assert sentence.stage is not None
    text = "".join(candidate.piece.text for candidate in (*chosen, sentence))
    return text.rpartition(sentence.stage.open)[2].partition(sentence.stage.close)[0].strip()


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Refuse an empty or ambiguous set of candidates.

    Raises:
        InputError: there is no candidate, or two share an id.
    """
    if not candidates:
        raise InputError("there are no candidates to judge", hint="sample at least one")
    if len({candidate.id for candidate in candidates}) < len(candidates):
        raise InputError("two candidates share an id", hint="give each candidate of a trace its own id")
