"""The model behind the fake server: plausible staged answers by a script, a judge's scores, and what a probe asks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from stepsight.engines.openai.trials import COLOUR, LABELS, QUESTION
from stepsight.engines.scripted import ScriptedEngine
from stepsight.protocols import Completion, SampleRequest, ScoreRequest
from stepsight.records import Piece
from stepsight.stages import STAGES, Stage, parse, render, render_stage
from stepsight.testing.grading import graded

ANSWER: Mapping[Stage, str] = {
    Stage.SUMMARY: "I will find the small shiny balls and the purple objects, take them away and count the rest.",
    Stage.CAPTION: "B2: small red metal sphere. D4: large purple rubber cube. E6: small gray rubber cylinder.",
    Stage.REASONING: "There are 3 objects. 1 is a small shiny ball and 1 is purple. 3 - 1 - 1 = 1.",
    Stage.CONCLUSION: "1",
}


def written(request: SampleRequest, slot: int, seed: int) -> str:
    """The continuation of a request: the whole answer, or its next stage; odd slots miscount, slot 2 repeats slot 0."""
    prefix = "".join(piece.text for piece in request.prefix)
    told = [stage for stage in STAGES if stage.close in prefix]
    texts = dict(ANSWER)
    if slot % 2:
        texts[Stage.CAPTION] = texts[Stage.CAPTION].replace("purple", "blue")
        texts[Stage.REASONING] = texts[Stage.REASONING].replace("1 is purple. 3 - 1 - 1 = 1", "0 are purple. 3 - 1 = 2")
        texts[Stage.CONCLUSION] = "2"
    if len(request.stop) == 1 and request.stop[0] == STAGES[-1].close and not told:
        return render(texts)
    stage = STAGES[len(told)]
    return ("\n\n" if told else "") + render_stage(stage, texts[stage])


def rated(request: ScoreRequest) -> tuple[float, ...]:
    """Prefers the text that says purple, whichever place it stands in; cannot tell summaries apart."""
    text = request.turns[-1].text
    if len(request.options) != 2 or request.options[0] not in ("1", "2"):
        return (-0.1, -2.5)
    first = text.find("purple rubber") < text.find("blue rubber") or text.find("= 1") < text.find("= 2")
    return (-0.2, -1.8) if first else (-1.8, -0.2)


DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday."


def say(request: SampleRequest, slot: int, seed: int) -> str:
    """All that the model would write if nobody stopped it: the rest of a staged answer, or the answer to a trial or to
    a question about an answer."""
    asked = request.turns[-1].text
    begun = "".join(piece.text for piece in request.prefix)
    if asked == QUESTION and not request.staged:
        days = DAYS.split(" ")
        if request.temperature > 1:
            random.Random(seed).shuffle(days)
        return " ".join(days).removeprefix(begun)
    if asked == COLOUR:
        return f"It is {colour_of(request)}."
    if asked == LABELS:
        return "2"
    if (grade := graded(asked)) is not None:
        return grade
    if request.max_tokens <= 64 and ("1 or 2" in asked or "yes or no" in asked or "correct?" in asked):
        return verdict(request)
    rest = ""
    while STAGES[-1].close not in begun + rest:
        stage = next(stage for stage in STAGES if stage.close not in begun + rest)
        now = replace(request, prefix=(Piece(text=begun + rest),) if begun + rest else (), stop=(stage.close,))
        rest += written(now, slot, seed)
    return rest


def held(request: SampleRequest, said: str | Completion) -> str | Completion:
    """What a grammar would have let through of it; a whole answer instead of a text that has not the form."""
    text = said if isinstance(said, str) else said.piece.text
    return said if not request.staged or parse(text).valid else render(ANSWER)


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
