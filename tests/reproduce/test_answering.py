"""Each form is asked as it was trained, and its answer found by its own rule; what cannot be found is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepsight.data.ablations import Form
from stepsight.engines.scripted import SampleCall, ScriptedEngine
from stepsight.evaluation.report import score
from stepsight.prompts.tasks import VERSION, stage_task
from stepsight.protocols import Completion, SearchSettings
from stepsight.records import Finish, Piece, Question, Trace
from stepsight.reproduce.answering import ASKED, in_turn, whole
from stepsight.reproduce.reading import reader
from stepsight.stages import SEPARATOR, STAGES, Stage, render, render_stage

QUESTION = Question(id="q", text="How many?", images=(Path("a.png"),), answer="4")
TEXTS = {Stage.SUMMARY: "s s", Stage.CAPTION: "c", Stage.REASONING: "r", Stage.CONCLUSION: "4"}


def requests(engine: ScriptedEngine) -> list[SampleCall]:
    return [call for call in engine.calls if isinstance(call, SampleCall)]


async def test_a_whole_answer_is_not_stopped_by_a_tag() -> None:
    shuffled = SEPARATOR.join(render_stage(stage, TEXTS[stage]) for stage in reversed(STAGES))
    engine = ScriptedEngine([shuffled])
    trace = await whole(QUESTION, engine, None, SearchSettings(max_tokens=50, temperature=0.7, width=4))
    (call,) = requests(engine)
    assert (call.request.stop, call.request.temperature, call.request.max_tokens) == ((), 0.0, 50)
    assert call.request.turns[0].text == "How many?"
    assert trace.text == shuffled
    assert trace.strategy == "whole"


async def test_stages_are_asked_one_after_the_other_with_what_was_written_before() -> None:
    engine = ScriptedEngine([render_stage(stage, TEXTS[stage]) for stage in STAGES])
    trace = await in_turn(QUESTION, engine, None, SearchSettings(max_tokens=100))
    left = 100
    for place, (stage, call) in enumerate(zip(STAGES, requests(engine), strict=True)):
        (turn,) = call.request.turns
        assert turn.text == stage_task("How many?", {one: TEXTS[one] for one in STAGES[:place]}, stage)
        assert turn.images == QUESTION.images
        assert (call.request.stop, call.request.max_tokens) == ((stage.close,), left)
        left -= call.result.completions[0].tokens
    assert [candidate.parent for candidate in trace.candidates] == [None, 0, 1, 2]
    assert trace.usage.kept == 100 - left
    assert trace.settings["prompts"] == VERSION
    assert reader(Form.APART)(trace).stages == TEXTS


async def test_all_stages_together_have_one_limit_of_tokens() -> None:
    long = Completion(Piece(text="<SUMMARY> so long"), Finish.LENGTH, tokens=7)
    engine = ScriptedEngine([long])
    trace = await in_turn(QUESTION, engine, None, SearchSettings(max_tokens=7))
    assert len(trace.candidates) == 1
    assert not reader(Form.APART)(trace).valid


async def test_a_stage_that_cannot_be_read_is_not_passed_on() -> None:
    said = ["no tag at all", *(render_stage(stage, TEXTS[stage]) for stage in STAGES[1:])]
    engine = ScriptedEngine(said)
    await in_turn(QUESTION, engine, None, SearchSettings())
    asked = [call.request.turns[0].text for call in requests(engine)]
    assert asked[1] == stage_task("How many?", {}, Stage.CAPTION)
    assert asked[2] == stage_task("How many?", {Stage.CAPTION: "c"}, Stage.REASONING)


def test_every_form_is_asked_in_some_way() -> None:
    assert set(ASKED) == set(Form)


async def written(form: Form, text: str, finish: Finish = Finish.STOP) -> Trace:
    engine = ScriptedEngine([Completion(Piece(text=text), finish, tokens=3)])
    return await whole(QUESTION, engine, None, SearchSettings())


PLAIN = SEPARATOR.join(TEXTS[stage] for stage in STAGES)


@pytest.mark.parametrize(
    ("form", "text", "finish", "conclusion"),
    [
        (Form.DIRECT, " 4 ", Finish.STOP, "4"),
        (Form.DIRECT, "4", Finish.LENGTH, None),
        (Form.DIRECT, "  ", Finish.STOP, None),
        (Form.NO_TAGS, PLAIN, Finish.STOP, "4"),
        (Form.NO_TAGS, f"{PLAIN}\n\n", Finish.STOP, "4"),
        (Form.NO_TAGS, PLAIN, Finish.LENGTH, None),
        (Form.NO_TAGS, "4", Finish.STOP, None),
        (Form.NO_TAGS, "Let me see.\n\n4", Finish.STOP, "4"),
        (Form.STAGED, render(TEXTS), Finish.STOP, "4"),
        (Form.STAGED, render(TEXTS).removesuffix("</CONCLUSION>"), Finish.LENGTH, None),
        (Form.STAGED, "<CONCLUSION> 4 </CONCLUSION>", Finish.STOP, "4"),
        (Form.SHUFFLED, "<CONCLUSION> 4 </CONCLUSION>\n\n<CAPTION> c", Finish.LENGTH, "4"),
        (Form.SHUFFLED, "4", Finish.STOP, None),
    ],
)
async def test_where_the_answer_stands(form: Form, text: str, finish: Finish, conclusion: str | None) -> None:
    trace = await written(form, text, finish)
    parsed = reader(form)(trace)
    assert parsed.stages.get(Stage.CONCLUSION) == conclusion
    assert parsed.valid == (conclusion is not None)
    row = score(QUESTION, trace, read=reader(form))
    assert (row.correct, row.valid, row.prediction) == (conclusion == "4", conclusion is not None, conclusion)


async def test_paragraphs_are_stages_only_if_there_are_four() -> None:
    read = reader(Form.NO_TAGS)
    assert read(await written(Form.NO_TAGS, PLAIN)).stages == TEXTS
    assert set(read(await written(Form.NO_TAGS, f"more\n\n{PLAIN}")).stages) == {Stage.CONCLUSION}
