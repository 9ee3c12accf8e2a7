"""The model behind the fake server: the scripted staged answers, and what a probe asks."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.scripts import rated, written

from stepsight.engines.openai.trials import COLOUR, LABELS, QUESTION
from stepsight.engines.scripted import ScriptedEngine, tokens_of
from stepsight.protocols import SampleRequest, ScoreRequest
from stepsight.records import Piece
from stepsight.stages import STAGES

DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday."


def say(request: SampleRequest, slot: int, seed: int) -> str:
    """All that the model would write if nobody stopped it: the rest of a staged answer, or the answer to a trial."""
    asked = request.turns[-1].text
    begun = "".join(piece.text for piece in request.prefix)
    if asked == QUESTION:
        days = DAYS.split(" ")
        if request.temperature > 1:
            random.Random(seed).shuffle(days)
        return " ".join(days).removeprefix(begun)
    if asked == COLOUR:
        return f"It is {colour_of(request)}."
    if asked == LABELS:
        return "2"
    if request.max_tokens <= 64 and ("1 or 2" in asked or "yes or no" in asked or "correct?" in asked):
        return verdict(request)
    rest = ""
    while STAGES[-1].close not in begun + rest:
        stage = next(stage for stage in STAGES if stage.close not in begun + rest)
        now = replace(request, prefix=(Piece(text=begun + rest),) if begun + rest else (), stop=(stage.close,))
        rest += written(now, slot, seed)
    return rest


def colour_of(request: SampleRequest) -> str:
    """What the name that the fake server gives a picture says of it."""
    images = request.turns[-1].images
    return images[0].stem.split("-")[0] if images else "unseen"


def options_of(text: str) -> tuple[str, str]:
    """What a judging prompt wants to hear."""
    return ("yes", "no") if "with yes" in text or "correct?" in text else ("1", "2")


def verdict(request: SampleRequest) -> str:
    """The likelier option, in a sentence."""
    options = options_of(request.turns[-1].text)
    logprobs = rated(ScoreRequest(request.turns, options))
    best = options[logprobs.index(max(logprobs))]
    return f"{best}" if options[0] == "yes" else f"It is more exact, so I choose response {best}."


def top(request: SampleRequest) -> dict[str, float]:
    """Likely next tokens; what `rated` says of the options, and some others."""
    turn = request.turns[-1]
    if turn.text == LABELS:
        return {"2": -0.2, "1": -2.0, "It": -4.0}
    if turn.text == COLOUR:
        colour = colour_of(request)
        return {colour: -0.1, "blue" if colour == "red" else "red": -3.0, "It": -4.0}
    options = options_of(turn.text)
    rates = rated(ScoreRequest(request.turns, options, request.prefix))
    return {**dict(zip(options, rates, strict=True)), "The": -5.0, " ": -6.0}


def scripted() -> ScriptedEngine:
    """The same model without a server between."""
    return ScriptedEngine(say, scores=rated)


__all__ = ["DAYS", "say", "scripted", "tokens_of", "top"]
