"""What a judge reads in a candidate: the text of its unit, or the reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from stepsight.errors import InputError
from stepsight.records import Candidate, Finish
from stepsight.stages import STAGES, Stage, parse

Malformed = Literal["cut off", "engine error", "tags missing or out of place"]


def malformed(candidate: Candidate) -> Malformed | None:
    """Why a candidate cannot stand as its stage (or, whole, as an answer); None if it can.

    A stage must be its opening tag, some text without tags, and its closing tag, with nothing but white space before
    and after. A whole answer must parse without faults.
    """
    if candidate.finish is Finish.LENGTH:
        return "cut off"
    if candidate.finish is Finish.ERROR:
        return "engine error"
    if candidate.stage is None:
        sound = parse(candidate.piece.text).valid
    else:
        sound = _inner(candidate.stage, candidate.piece.text) is not None
    return None if sound else "tags missing or out of place"


def unit_text(candidate: Candidate) -> str:
    """The text between the tags of a well-formed stage; otherwise what was written, stripped."""
    text = candidate.piece.text
    inner = None if candidate.stage is None else _inner(candidate.stage, text)
    return text.strip() if inner is None else inner


def stage_texts(chosen: Sequence[Candidate]) -> dict[Stage, str]:
    """The texts of the stages chosen so far; a malformed stage has none."""
    return {
        candidate.stage: unit_text(candidate)
        for candidate in chosen
        if candidate.stage is not None and malformed(candidate) is None
    }


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Refuse an empty or ambiguous set of candidates.

    Raises:
        InputError: there is no candidate, or two share an id.
    """
    if not candidates:
        raise InputError("there are no candidates to judge", hint="sample at least one")
    if len({candidate.id for candidate in candidates}) < len(candidates):
        raise InputError("two candidates share an id", hint="give each candidate of a trace its own id")


def _inner(stage: Stage, text: str) -> str | None:
    found = re.fullmatch(rf"\s*{re.escape(stage.open)}(.*){re.escape(stage.close)}\s*", text, flags=re.DOTALL)
    inner = found[1].strip() if found else ""
    if not inner or any(tag in inner for other in STAGES for tag in (other.open, other.close)):
        return None
    return inner
