"""The Python interface: ask one question about one picture.

    from stepsight import ask

    answer = ask("picture.png", "How many red cubes are there?")
    print(answer.conclusion)

All searches of a process run on one event loop in a thread of its own. So `ask` works inside a running event loop too,
a model that stays loaded always meets the loop it was first used on, and questions asked at once share batches.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from stepsight.assembly import (
    LoadedModel,
    ModelChoice,
    SearchChoice,
    build_judge,
    check_choice,
    load_model,
    loaded,
    unrepeatable,
    with_judge_prompts,
)
from stepsight.errors import InputError
from stepsight.pictures import check_picture, load_picture, picture_hash
from stepsight.prompts.answer import question_text
from stepsight.protocols import SearchSettings, Watch
from stepsight.records import Question, Trace, Usage
from stepsight.search import strategy
from stepsight.stages import Fault, Stage, parse
from stepsight.world.recognise import looks_drawn

Picture = str | Path | Image.Image

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@dataclass(frozen=True)
class Notice:
    """Something worth telling while a question is being answered.

    asked: everything given has been checked; the question as it is put. loading, loaded: a model, by name. note: a
    warning.
    """

    kind: Literal["asked", "loading", "loaded", "note"]
    text: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    `stages` holds the stages that could be read. `conclusion` is None where none was written; `faults` then say what
    is wrong with the answer's form. `notes` are warnings, such as a picture that the model cannot know. `seconds` is
    the search alone; loading the model is not part of it. `trace` keeps everything that was tried.
    """

    question: str
    stages: Mapping[Stage, str]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    trace: Trace

    @property
    def conclusion(self) -> str | None:
        return self.stages.get(Stage.CONCLUSION)

    @property
    def usage(self) -> Usage:
        return self.trace.usage

    @property
    def seconds(self) -> float:
        return self.trace.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what `stepsight ask --json` prints."""
        result: dict[str, Any] = {
            "question": self.question,
            "answer": self.conclusion,
            "stages": {stage.key: self.stages.get(stage) for stage in Stage},
            "search": self.trace.strategy,
            "usage": self.usage.model_dump(),
            "seconds": round(self.seconds, 3),
        }
        if self.faults:
            result["faults"] = [fault.detail for fault in self.faults]
        if self.notes:
            result["notes"] = list(self.notes)
        return result


def ask(
    image: Picture,
    question: str,
    *,
    model: str | Path | ModelChoice | LoadedModel = "pico",
    search: str | SearchChoice = "stage-beam",
    width: int = 4,
    judge: str = "self",
    choices: Sequence[str] = (),
    seed: int = 0,
    temperature: float = 0.6,
    top_p: float = 0.9,
    max_tokens: int = 1024,
    greedy_first: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    server: str = "",
    server_seeds: bool = False,
    judge_prompts: str = "",
    watch: Watch | None = None,
    notice: Callable[[Notice], None] | None = None,
) -> Answer:
    """Answer a question about a picture in four stages, searching over them.

    The same picture (whatever its file is called), question, choices, model, settings and seed give the same answer.

    Args:
        image: a path, or a Pillow picture.
        question: what to ask.
        model: `pico` (shipped), a folder, a hub id, a `ModelChoice` that says how to load it as well, or a model that
            `stepsight.assembly.load_model` gave. Models asked for by name stay in memory, the last two of them. With
            `server`, its id there.
        search: `stage-beam`, `sentence-beam`, `swires`, `adaptive`, `best-of-n`, `vote`, `greedy`; or a `SearchChoice`,
            which says what the arguments from `width` to `greedy_first` say, and knows budgets and constants.
        width: candidates drawn at a time.
        judge: who chooses between candidates: `self`, `written`, `likelihood` or `vote`.
        choices: the options of a multiple-choice question.
        seed: of all sampling.
        temperature: of sampling; 0 is greedy.
        top_p: sample from the most likely tokens that make up this probability.
        max_tokens: the most one candidate may be long.
        greedy_first: decode one candidate of each stage greedily and sample only the others.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        dtype: `auto`, `float32`, `bfloat16`, `float16`.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        server: base URL of a server that runs the model, such as `http://localhost:8000/v1`; empty: run it here.
        server_seeds: the server may be asked for seeds, which a few servers do not survive.
        judge_prompts: version of the judging texts; empty: what the model's card names.
        watch: is told every event of the search, from any thread.
        notice: is told when a model is loaded and what the user should know, before the search starts.

    Raises:
        StepsightError: see `stepsight.errors`. Names, numbers and the picture are checked before a model is loaded.
    """
    local = (device, dtype, revision, trust_remote_code)
    choice = _choice(model, local, server, server_seeds, judge_prompts)
    settings = SearchSettings(width, temperature, top_p, max_tokens, seed, greedy_first)
    plan = _plan(search, judge, settings)
    return _result(_submit(_answer(image, question, tuple(choices), choice, plan, watch, notice)))


async def aask(
    image: Picture,
    question: str,
    *,
    model: str | Path | ModelChoice | LoadedModel = "pico",
    search: str | SearchChoice = "stage-beam",
    width: int = 4,
    judge: str = "self",
    choices: Sequence[str] = (),
    seed: int = 0,
    temperature: float = 0.6,
    top_p: float = 0.9,
    max_tokens: int = 1024,
    greedy_first: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    server: str = "",
    server_seeds: bool = False,
    judge_prompts: str = "",
    watch: Watch | None = None,
    notice: Callable[[Notice], None] | None = None,
) -> Answer:
    """`ask` for async code: same arguments, same answer; cancelling the task cancels the search."""
    local = (device, dtype, revision, trust_remote_code)
    choice = _choice(model, local, server, server_seeds, judge_prompts)
    settings = SearchSettings(width, temperature, top_p, max_tokens, seed, greedy_first)
    plan = _plan(search, judge, settings)
    work = _answer(image, question, tuple(choices), choice, plan, watch, notice)
    return await asyncio.wrap_future(_submit(work))


def question_about(image: Picture, text: str, choices: Sequence[str] = ()) -> tuple[Question, Image.Image]:
    """Make a checked question of a picture and a text; also the picture itself, decoded.

    Its id is a hash of what is asked, so seeds that derive from it do not depend on a file's name.

    Raises:
        InputError: the question is empty, or the choices make no sense.
        PictureError: the picture cannot be used.
    """
    text = text.strip()
    if not text:
        raise InputError("the question is empty", hint="say what you want to know about the picture")
    if len(choices) == 1 or len(set(choices)) < len(choices) or not all(choice.strip() for choice in choices):
        raise InputError("the choices must be two or more different texts", hint="give --choice once for each")
    if isinstance(image, Image.Image):
        picture, path = image, None
    else:
        path = Path(image)
        picture = load_picture(path)
    seen = picture_hash(picture)
    question_id = asked_id(seen, text, list(choices))
    if path is None:
        path = _scratch() / f"{seen}.png"
        if not path.exists():
            (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(path)
        check_picture(path)
    return Question(id=question_id, text=text, images=(path.absolute(),), choices=tuple(choices), source="ask"), picture


def notes_on(model: LoadedModel, plan: SearchChoice, *, drawn: bool) -> tuple[str, ...]:
    """What whoever asks should know; `drawn`: the picture looks like one of the drawn world."""
    notes: tuple[str, ...] = ()
    if model.card.world_only and not drawn:
        notes = (
            f"{model.card.name} knows only the drawn tabletop world, and this picture looks like another kind: "
            "do not trust the answer; choose a model that knows photographs with the option --model",
        )
    warning = unrepeatable(model, search=plan.search, temperature=plan.settings.temperature)
    return (*notes, warning) if warning else notes


def asked_id(*asked: object) -> str:
    """The id of a question, from what is asked: the hash of its picture, its text, its choices; as JSON."""
    return f"ask-{hashlib.sha256(json.dumps(asked).encode('ascii')).hexdigest()[:16]}"


def _choice(
    model: str | Path | ModelChoice | LoadedModel,
    local: tuple[str, str, str | None, bool],
    server: str,
    server_seeds: bool,
    prompts: str,
) -> ModelChoice | LoadedModel:
    if isinstance(model, LoadedModel):
        if server:
            raise InputError("a loaded model and a server are both given", hint="give one of them")
        return with_judge_prompts(model, prompts)
    if not isinstance(model, ModelChoice):
        made = ModelChoice(str(model), *local)
        return replace(made, server=server, server_seeds=server_seeds, judge_prompts=prompts)
    if local != ("auto", "auto", None, False) or server or server_seeds or prompts:
        raise InputError("a ModelChoice says itself how to load the model", hint="set the option in the ModelChoice")
    return model


def _plan(search: str | SearchChoice, judge: str, settings: SearchSettings) -> SearchChoice:
    if not isinstance(search, SearchChoice):
        return SearchChoice(search, judge, settings)
    if judge != "self" or settings != SearchSettings():
        raise InputError("a SearchChoice says itself how to search", hint="set it in the SearchChoice")
    return search


async def _answer(
    image: Picture,
    text: str,
    choices: tuple[str, ...],
    model: ModelChoice | LoadedModel,
    plan: SearchChoice,
    watch: Watch | None,
    notice: Callable[[Notice], None] | None,
) -> Answer:
    def tell(kind: Literal["asked", "loading", "loaded", "note"], what: str, seconds: float = 0.0) -> None:
        if notice is not None:
            notice(Notice(kind, what, seconds))

    # 1. Everything that can be wrong without a model.
    question, picture = question_about(image, text, choices)
    if isinstance(model, ModelChoice):
        check_choice(model)
    tell("asked", question_text(question))

    # 2. The model.
    if isinstance(model, ModelChoice):
        ready = loaded(model)
        if ready is None:
            tell("loading", f"{model.name} on {model.server}" if model.server else model.name)
            ready = await asyncio.to_thread(load_model, model)
            tell("loaded", ready.card.name, ready.seconds)
        model = ready

    # 3. What the user should know.
    notes = notes_on(model, plan, drawn=looks_drawn(picture))
    for note in notes:
        tell("note", note)

    # 4. The search.
    chooser = build_judge(plan.judge, model, search=plan.search, width=plan.settings.width)
    trace = await strategy(plan.search)(question, model.engine, chooser, replace(plan.settings, watch=watch))
    parsed = parse(trace.text)
    return Answer(question.text, parsed.stages, parsed.faults, notes, trace)


@lru_cache(maxsize=1)
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Pictures given as objects are kept here for the life of the process, so that traces can be judged again."""
    return tempfile.TemporaryDirectory(prefix="stepsight-")


def _scratch() -> Path:
    return Path(_scratch_folder().name)


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="stepsight", daemon=True).start()
    return loop


def _submit(work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
    return asyncio.run_coroutine_threadsafe(work, _loop())


def _result(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except (KeyboardInterrupt, CancelledError):
        future.cancel()
        raise
