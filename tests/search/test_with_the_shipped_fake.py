"""A whole search on the shipped fake: what is asked, and what prompts share."""

from __future__ import annotations

from pathlib import Path

from stepsight.engines.scripted import PICTURE_TOKENS, SampleCall, ScoreCall, ScriptedEngine, tokens_of
from stepsight.judges import SelfJudge
from stepsight.prompts import judge_prompts, question_text
from stepsight.protocols import SearchSettings
from stepsight.records import Question
from stepsight.search import stage_beam
from stepsight.stages import SEPARATOR, STAGES, Stage, parse, render_stage

QUESTION = Question(id="q", text="How many cubes are there?", images=(Path("a.png"),))


def piece(stage: Stage, text: str) -> str:
    return ("" if stage is STAGES[0] else SEPARATOR) + render_stage(stage, text)


async def test_the_second_of_two_wins_each_stage_and_prompts_share_picture_and_question() -> None:
    samples = [piece(stage, f"{stage.key} {slot}") for stage in STAGES for slot in (1, 2)]
    second_wins = [(-3.0, -0.1), (-0.1, -3.0)]
    screen = [(-0.1, -3.0), (-0.1, -3.0)]
    scores = [row for stage in STAGES for row in (*(screen if stage is Stage.REASONING else []), *second_wins)]
    engine = ScriptedEngine(samples, scores=scores)

    trace = await stage_beam(
        QUESTION, engine, SelfJudge(engine, judge_prompts("paper-1")), SearchSettings(width=2, max_tokens=50)
    )

    assert parse(trace.text).stages == {stage: f"{stage.key} 2" for stage in STAGES}
    assert engine.left == (0, 0)
    kinds = [type(call) for call in engine.calls]
    assert kinds == [SampleCall, ScoreCall] * 2 + [SampleCall, ScoreCall, ScoreCall] + [SampleCall, ScoreCall]

    sampled = [call for call in engine.calls if isinstance(call, SampleCall)]
    assert trace.usage.kept == trace.usage.discarded == sum(len(tokens_of(piece(stage, "x 2"))) for stage in STAGES)
    assert all(call.result.cached >= PICTURE_TOKENS for call in sampled[1:])
    # Every comparison begins like the answering prompt, so its picture and question are never computed again.
    shared = PICTURE_TOKENS + len(tokens_of(question_text(QUESTION)))
    for call in engine.calls:
        if isinstance(call, ScoreCall):
            for request, result in zip(call.requests, call.results, strict=True):
                assert result.cached >= (shared if request.turns[0].images else 0)
    assert trace.usage.cached == sum(
        result.cached
        for call in engine.calls
        for result in ((call.result,) if isinstance(call, SampleCall) else call.results)
    )
