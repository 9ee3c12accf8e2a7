"""A scripted model for tests of what stands above the engines: plausible staged answers, and a judge's scores."""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.assembly import LoadedModel
from stepsight.engines.scripted import ScriptedEngine
from stepsight.judges.pairwise import SelfJudge
from stepsight.model_folders import ModelCard
from stepsight.prompts.judge import judge_prompts
from stepsight.protocols import SampleRequest, ScoreRequest
from stepsight.stages import STAGES, Stage, render, render_stage

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


def scripted_model(**card: object) -> LoadedModel:
    """A loaded model that answers by the script; `card` sets keys of its card."""
    return LoadedModel(ScriptedEngine(written, scores=rated), ModelCard.model_validate({"name": "scripted", **card}))


def self_judge(model: LoadedModel) -> SelfJudge:
    """The model as its own judge."""
    return SelfJudge(model.engine, judge_prompts(model.card.judge_prompts))
