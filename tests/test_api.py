"""The Python interface: one call from a picture and a question to an answer."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from PIL import Image
from tests.scripts import ANSWER, scripted_model

import stepsight
from stepsight import Event, InputError, ModelError, PictureError, SearchSettings, Trace, aask, ask, derive_seed
from stepsight.api import Answer, Notice, question_about
from stepsight.assembly import LoadedModel, ModelChoice
from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import CapabilityError, StepsightError
from stepsight.model_folders import ModelCard
from stepsight.protocols import OnText, SampleRequest, SampleResult
from stepsight.stages import STAGES, Stage


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), (165, 165, 165)).save(path)
    return path


def without_time(answer: Answer) -> Trace:
    question = answer.trace.question.model_copy(update={"images": ()})
    return answer.trace.model_copy(update={"seconds": 0.0, "question": question})


def test_three_lines_give_an_answer(picture: Path) -> None:
    answer = ask(picture, "How many red cubes are there?", model=scripted_model())
    assert answer.conclusion == "1"
    assert dict(answer.stages) == dict(ANSWER)
    assert answer.faults == ()
    assert answer.notes == ()
    assert answer.trace.strategy == "stage-beam"
    assert len(answer.trace.candidates) == 4 * len(STAGES)


def test_the_dictionary_holds_what_the_answer_holds(picture: Path) -> None:
    answer = ask(picture, "How many?", model=scripted_model(), search="best-of-n", width=2)
    assert answer.to_dict() == {
        "question": "How many?",
        "answer": "1",
        "stages": {stage.key: text for stage, text in ANSWER.items()},
        "search": "best-of-n",
        "usage": answer.usage.model_dump(),
        "seconds": round(answer.seconds, 3),
    }
    assert answer.usage == answer.trace.usage


def test_a_malformed_answer_says_what_is_wrong(picture: Path) -> None:
    model = LoadedModel(ScriptedEngine(["<SUMMARY> I look. </SUMMARY> and so on"]), ModelCard())
    answer = ask(picture, "How many?", model=model, search="greedy")
    assert answer.conclusion is None
    report = answer.to_dict()
    assert report["answer"] is None
    assert report["stages"] == {"summary": "I look.", "caption": None, "reasoning": None, "conclusion": None}
    assert "CONCLUSION is missing" in report["faults"]


def test_the_same_picture_gives_the_same_search_whatever_it_is_called(picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "renamed.bmp"
    with Image.open(picture) as opened:
        opened.save(other)
        as_object = ask(opened, "How many?", model=scripted_model())
    first = ask(str(picture), "How many?", model=scripted_model())
    second = ask(other, "How many?", model=scripted_model())
    assert without_time(first) == without_time(second) == without_time(as_object)


def test_seeds_depend_on_what_is_asked_and_on_the_seed(picture: Path) -> None:
    model = scripted_model()
    seeds = {
        ask(picture, text, model=model, seed=seed, choices=choices, width=1).trace.candidates[0].seed
        for text in ("How many?", "How much?")
        for seed in (0, 1)
        for choices in ((), ("1", "2"))
    }
    assert len(seeds) == 8


def test_a_picture_object_of_any_mode_is_taken_as_it_looks() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV"):
        question, _ = question_about(
            clear.convert("RGB").convert(mode) if mode == "HSV" else clear.convert(mode), "What?"
        )
        assert question.images[0].is_file()
    seen, _ = question_about(clear, "What?")
    white, _ = question_about(Image.new("RGB", (32, 32), "white"), "What?")
    assert seen.id == white.id


async def test_it_works_inside_a_running_loop(picture: Path) -> None:
    assert ask(picture, "How many?", model=scripted_model()).conclusion == "1"


async def test_the_async_variant_gives_the_same_and_many_at_once(picture: Path) -> None:
    model = scripted_model()
    answers = await asyncio.gather(*(aask(picture, "How many?", model=model, width=2) for _ in range(5)))
    blocking = ask(picture, "How many?", model=scripted_model(), width=2)
    assert {answer.conclusion for answer in answers} == {"1"}
    assert [candidate.seed for candidate in answers[0].trace.candidates] == [
        candidate.seed for candidate in blocking.trace.candidates
    ]


class Stuck(ScriptedEngine):
    """Never answers; knows when it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.stopped = threading.Event()

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        self.started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.stopped.set()
        raise AssertionError("unreachable")


async def test_cancelling_the_task_cancels_the_search(picture: Path) -> None:
    engine = Stuck()
    task = asyncio.create_task(aask(picture, "How many?", model=LoadedModel(engine, ModelCard())))
    assert await asyncio.to_thread(engine.started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(engine.stopped.wait, 10)


def test_events_and_notices_are_passed_on(picture: Path) -> None:
    events: list[Event] = []
    notices: list[Notice] = []
    ask(picture, "How many?", model=scripted_model(), watch=events.append, notice=notices.append, choices=("1", "2"))
    assert [event.stage for event in events if event.kind == "stage_chosen"] == list(STAGES)
    assert [(notice.kind, notice.text) for notice in notices] == [("asked", "How many?\nA. 1\nB. 2")]


def test_a_model_of_the_drawn_world_warns_of_other_pictures(picture: Path) -> None:
    blue = Image.new("RGB", (64, 64), "royalblue")
    notices: list[Notice] = []
    warned = ask(blue, "How many?", model=scripted_model(world_only=True), notice=notices.append)
    assert warned.conclusion == "1"
    assert len(warned.notes) == 1
    assert "--model" in warned.notes[0]
    assert warned.to_dict()["notes"] == list(warned.notes)
    assert [notice.text for notice in notices if notice.kind == "note"] == list(warned.notes)
    assert ask(picture, "How many?", model=scripted_model(world_only=True)).notes == ()
    assert ask(blue, "How many?", model=scripted_model()).notes == ()


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"search": "stage_bean"}, InputError, "stage-beam"),
        ({"judge": "selv"}, InputError, "did you mean self"),
        ({"width": 0}, InputError, "width"),
        ({"max_tokens": 0}, InputError, "max_tokens"),
        ({"temperature": -1.0}, InputError, "temperature"),
        ({"temperature": float("nan")}, InputError, "temperature"),
        ({"top_p": 0.0}, InputError, "top_p"),
        ({"judge": "vote"}, CapabilityError, "best-of-n"),
        ({"choices": ("red",)}, InputError, "choices"),
        ({"choices": ("red", "red")}, InputError, "choices"),
        ({"question": " \n"}, InputError, "empty"),
        ({"image": "no-such-file.png"}, PictureError, "no-such-file.png"),
        ({"model": "no such model"}, ModelError, "no such model"),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_is_asked(
    picture: Path, options: dict[str, object], kind: type[StepsightError], says: str
) -> None:
    engine = ScriptedEngine()
    given = {"image": picture, "question": "How many?", "model": LoadedModel(engine, ModelCard()), **options}
    with pytest.raises(kind, match=says):
        ask(**given)  # type: ignore[arg-type]  # wrong on purpose
    assert engine.calls == []


def test_a_choice_says_how_the_model_is_loaded(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices: list[ModelChoice] = []

    def load(choice: ModelChoice) -> LoadedModel:
        choices.append(choice)
        return scripted_model()

    monkeypatch.setattr("stepsight.api.load_model", load)
    wanted = ModelChoice("owner/model", quantize="4bit", cache_gb=3.0)
    assert ask(picture, "How many?", model=wanted).conclusion == "1"
    ask(picture, "How many?", model="owner/model", device="cuda:1", dtype="float16", revision="v1")
    assert choices == [wanted, ModelChoice("owner/model", "cuda:1", "float16", "v1")]
    with pytest.raises(InputError, match="ModelChoice"):
        ask(picture, "How many?", model=wanted, device="cpu")


def test_a_judge_is_not_needed_where_nothing_is_chosen(picture: Path) -> None:
    blind = stepsight.protocols.Capabilities(prefix=True, logprobs=False, images=True, seeds=True)
    texts = [
        "<SUMMARY> a </SUMMARY>",
        "<CAPTION> b </CAPTION>",
        "<REASONING> c </REASONING>",
        "<CONCLUSION> d </CONCLUSION>",
    ]
    for search in ("greedy", "stage-beam"):
        samples = ["\n\n".join(texts)] if search == "greedy" else texts
        model = LoadedModel(ScriptedEngine(samples, capabilities=blind), ModelCard())
        assert ask(picture, "How many?", model=model, search=search, width=1).conclusion == "d"
    model = LoadedModel(ScriptedEngine(texts, capabilities=blind), ModelCard())
    with pytest.raises(CapabilityError, match="log-probabilities"):
        ask(picture, "How many?", model=model)


def test_seeds_are_those_of_the_search(picture: Path) -> None:
    question, _ = question_about(picture, "How many?")
    answer = ask(picture, "How many?", model=scripted_model(), seed=7, width=1)
    assert answer.trace.candidates[0].seed == derive_seed(7, question.id, Stage.SUMMARY, 0)
    assert answer.trace.settings["width"] == 1
    assert SearchSettings().width == 4


def test_an_interruption_cancels_the_search(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Stuck()

    def interrupted(future: Future[Answer], timeout: float | None = None) -> Answer:
        assert engine.started.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(picture, "How many?", model=LoadedModel(engine, ModelCard()))
    assert engine.stopped.wait(10)
