"""A run can be watched without noticing; what is seen is true, is kept, and goes on with the run."""

from __future__ import annotations

import json
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainerCallback

from stepsight.errors import InputError, MissingExtraError, ModelError, RecipeError
from stepsight.pictures import load_picture
from stepsight.records import Question
from stepsight.tracefiles import read_traces
from stepsight.training.model.pico import build_model, save_model
from stepsight.training.recipe.steps import Watching
from stepsight.training.run import train
from stepsight.training.trainer import LogFile
from stepsight.training.watching import answering, curves
from stepsight.training.watching.aside import aside
from stepsight.training.watching.held_out import hold_out
from stepsight.training.watching.watched import Watched, read_watched

from ..conftest import SIZES

WATCHING = {"every": 2, "losses": 3, "samples": 2, "max_tokens": 12}


@pytest.fixture(autouse=True)
def _unbound_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="session")
def start(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pico that drops a tenth of its attention while it learns, and so needs random numbers."""
    folder = tmp_path_factory.mktemp("start") / "model"
    torch.manual_seed(0)
    model: Any = build_model(SIZES, processor.tokenizer)
    model.config.text_config.attention_dropout = 0.1
    save_model(model, processor, folder)
    return folder


def write(folder: Path, name: str, begin: Path, **changes: Any) -> Path:
    recipe: dict[str, Any] = {
        "task": "sft",
        "start": {"folder": str(begin)},
        "data": {"mixture": {"read": 1.0}, "seed": 3},
        "watching": WATCHING,
        "out": str(folder / name),
    }
    how = {"steps": 5, "batch": 2, "learning_rate": 3e-3, "warmup": 1, "bf16": False, "workers": 0}
    how |= {"save_every": 2, "log_every": 1} | changes.pop("optimisation", {})
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe | changes | {"optimisation": how}), encoding="utf-8")
    return path


def logged(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def training_lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in logged(run) if "loss" in line]


def seen(run: Path) -> list[dict[str, Any]]:
    return [one.model_dump(exclude={"seconds"}) for one in read_watched(run)]


@pytest.fixture(scope="module")
def watched_run(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TQDM_DISABLE", "1")
        train(write(folder, "run", start))
    return folder / "run"


def test_training_does_not_notice(watched_run: Path, start: Path, tmp_path: Path) -> None:
    train(write(tmp_path, "alone", start, watching=None))
    alone = tmp_path / "alone"
    assert training_lines(watched_run) == training_lines(alone)
    assert [line["step"] for line in training_lines(alone)] == [1, 2, 3, 4, 5]
    one, other = (load_file(run / "model" / "model.safetensors") for run in (watched_run, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_is_looked_at_first_every_so_often_and_last(watched_run: Path) -> None:
    looks = read_watched(watched_run)
    assert [one.step for one in looks] == [0, 2, 4, 5]
    for look in looks:
        assert look.losses is not None
        assert look.losses.rows == 3
        assert {"summary", "caption", "reasoning", "conclusion", "tags", "all"} == look.losses.loss.keys()
        assert look.answers is not None
        # A model that knows nothing runs into the most tokens that it may write.
        assert (look.answers.asked, look.answers.cut, look.answers.tokens) == (2, 2, 24)
        assert look.answers.format_valid.n == 2
        assert look.answers.faults["missing"] == 2
    losses = [one.losses.loss["all"] for one in looks if one.losses is not None]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_answers_are_kept_as_traces_and_curves_are_drawn(watched_run: Path) -> None:
    answers = sorted((watched_run / "watch").glob("answers-*.jsonl"))
    assert [path.name for path in answers] == [f"answers-{step:06d}.jsonl" for step in (0, 2, 4, 5)]
    asked = [[trace.question.id for trace in read_traces(path)] for path in answers]
    assert asked == [["tabletop-train-7007-0", "tabletop-train-7007-1"]] * 4
    assert (watched_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (watched_run / "curves.svg").read_bytes()


def test_trackers_get_what_is_seen(watched_run: Path) -> None:
    lines = {line["step"]: line for line in logged(watched_run) if "eval_loss" in line}
    assert lines.keys() == {0, 2, 4, 5}
    for look in read_watched(watched_run):
        assert look.losses is not None
        assert lines[look.step]["eval_loss_caption"] == pytest.approx(look.losses.loss["caption"], abs=1e-5)
        assert lines[look.step]["eval_format_valid"] == 0.0
    # What training has seen between two lines of its own is not lost in those.
    assert not any("answer_tokens_right" in line for line in lines.values())
    assert all("answer_tokens_right" in line for line in training_lines(watched_run))


class Killed(Exception):
    pass


class KillAfter(TrainerCallback):
    """Stands in for a power cut after a step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 5:
            raise Killed


def test_a_killed_run_is_watched_on(
    watched_run: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(tmp_path, "killed", start, watching={**WATCHING, "every": 1})
    run = tmp_path / "killed"
    with monkeypatch.context() as patched:
        patched.setattr(LogFile, "on_step_end", KillAfter.on_step_end)
        with pytest.raises(Killed):
            train(recipe)
    # Step 5 was not reached by a checkpoint, nor by its look; pretend that it was looked at, and a line was cut short.
    stale = seen(run)[-1] | {"step": 5, "seconds": 1.0}
    with (run / "watch.jsonl").open("a", encoding="utf-8") as file:
        file.write(Watched.model_validate(stale).model_dump_json() + '\n{"step": 6, "lo')
    (run / "watch" / "answers-000099.jsonl").write_text("{}\n")
    train(recipe)
    assert [one["step"] for one in seen(run)] == [0, 1, 2, 3, 4, 5]
    assert [one for one in seen(run) if one["step"] in (0, 2, 4, 5)] == seen(watched_run)
    assert not (run / "watch" / "answers-000099.jsonl").exists()
    # To start over is to look anew.
    train(recipe, overrides=["optimisation.steps=1", "watching.samples=0"], resume=False)
    assert [one["step"] for one in seen(run)] == [0, 1]
    assert not list((run / "watch").glob("answers-*"))


def test_a_new_model_is_not_asked_before_it_has_learned(tmp_path: Path, start: Path) -> None:
    recipe = write(tmp_path, "new", start, start={"build": SIZES.model_dump()}, optimisation={"steps": 1})
    train(recipe)
    first, last = read_watched(tmp_path / "new")
    assert first.losses is not None
    assert first.answers is None
    assert last.answers is not None


def held_out_rows(folder: Path, count: int) -> dict[str, str]:
    rows = []
    for number in range(count):
        reply = f"<SUMMARY> a </SUMMARY>\n\n<CONCLUSION> {number} </CONCLUSION>" if number % 2 else str(number)
        said = [{"from": "human", "value": f"{number}?"}, {"from": "gpt", "value": reply}]
        rows.append(json.dumps({"id": f"row {number}", "conversations": said}))
    (folder / "held.jsonl").write_text("\n".join([*rows, "{"]) + "\n", encoding="utf-8")
    return {"rows": str(folder / "held.jsonl"), "images": str(folder)}


def test_rows_of_a_file_can_be_held_out(tmp_path: Path, start: Path, caplog: pytest.LogCaptureFixture) -> None:
    watching = WATCHING | held_out_rows(tmp_path, 8) | {"losses": 4, "samples": 3}
    train(write(tmp_path, "rows", start, watching=watching, optimisation={"steps": 1}))
    look = read_watched(tmp_path / "rows")[-1]
    assert look.losses is not None
    assert look.losses.rows == 4
    assert "1 held-out rows are set aside" in caplog.text
    traces = read_traces(tmp_path / "rows" / "watch" / "answers-000001.jsonl")
    assert len(traces) == 3
    # The known answer is the CONCLUSION, and of a row that is not staged all of it.
    for trace in traces:
        assert trace.question.answer == trace.question.id.removeprefix("row ") == trace.question.text.rstrip("?")


def test_rows_of_a_table_can_be_held_out(tmp_path: Path, processor: Any) -> None:
    picture = Image.effect_noise((40, 30), 60).convert("RGB")
    stream = BytesIO()
    picture.save(stream, format="PNG")
    rows = [
        {
            "id": str(number),
            "images": [{"bytes": stream.getvalue(), "path": None}] if number else [],
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"{number}?"},
                {"role": "assistant", "content": str(number)},
            ],
        }
        for number in range(3)
    ]
    path = tmp_path / "held.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    held = hold_out(Watching(every=1, rows=path, images=tmp_path), tmp_path / "questions")
    assert sorted(one.question.id for one in held) == ["0", "1", "2"]
    for one in held:
        said = processor.tokenizer.decode(one.encode(processor).ids)
        assert "Be brief." in said
        # Pictures inside the table are files beside the run from then on.
        shown = [load_picture(path) for path in one.question.images]
        assert [np.array(two).tolist() for two in shown] == [np.array(picture).tolist()] * (one.question.id != "0")


def test_a_question_that_cannot_be_answered_does_not_end_the_run(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_picture(model: Any, processor: Any, questions: Any, *, max_tokens: int) -> Any:
        questions[0].images[0].unlink(missing_ok=True)
        return answering.ask(model, processor, questions, max_tokens=max_tokens)

    monkeypatch.setattr("stepsight.training.watching.callback.ask", without_picture)
    watching = WATCHING | {"losses": 0}
    train(write(tmp_path, "run", start, watching=watching, optimisation={"steps": 1}))
    look = read_watched(tmp_path / "run")[-1]
    assert look.losses is None
    assert look.answers is not None
    assert look.answers.asked == 2
    assert look.answers.failed.keys() == {"tabletop-train-7007-0"}
    assert look.answers.accuracy.n == 1
    assert "1 questions were not answered: cannot read picture" in caplog.text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"watching": {**WATCHING, "seed": 3}}, "watching would look at lessons"),
        ({"watching": {**WATCHING, "losses": 0, "samples": 0}}, "nothing to look at"),
        ({"watching": {**WATCHING, "rows": "a.jsonl"}}, "rows and images go together"),
        ({"task": "align", "data": None}, "watching is for sft"),
        (
            {
                "data": {"rows": "a.jsonl", "images": "b"},
                "watching": {**WATCHING, "rows": "a.jsonl", "images": "b"},
            },
            "rows that are learned",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused(tmp_path: Path, start: Path, changes: Any, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        train(write(tmp_path, "run", start, **changes))


def test_what_is_missing_is_said_before_work_starts(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = WATCHING | {"rows": str(tmp_path / "none.jsonl"), "images": str(tmp_path)}
    with pytest.raises(InputError, match=r"none\.jsonl"):
        train(write(tmp_path, "run", start, watching=watching))
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"matplotlib .*stepsight\[train\]"):
        train(write(tmp_path, "run", start))
    assert not (tmp_path / "run").exists()


def test_a_model_that_the_engine_does_not_run_is_measured_but_not_asked(model: Any) -> None:
    answering.check_askable(model)
    model.config.model_type = "llava_next"
    with pytest.raises(ModelError, match=r"set watching\.samples=0"):
        answering.check_askable(model)


def test_aside_leaves_modes_and_random_numbers_as_they_were(model: Any) -> None:
    model.train()
    model.model.vision_tower.eval()
    modes = {name: module.training for name, module in model.named_modules()}

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)

    def look() -> None:
        with aside(model):
            assert not any(module.training for module in model.modules())
            draw()
            raise Killed

    with pytest.raises(Killed):
        look()
    assert draw() == expected
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_the_weights_of_now_are_asked(model: Any, processor: Any) -> None:
    question = Question(id="q", text="Is it?")

    def said(one: Any) -> str:
        with aside(one):
            (trace,), failed = answering.ask(one, processor, [question], max_tokens=8)
        assert not failed
        return trace.text

    torch.manual_seed(1)
    other = build_model(SIZES, processor.tokenizer)
    with torch.no_grad():
        for weight in (
            *model.model.language_model.layers.parameters(),
            *other.model.language_model.layers.parameters(),
        ):
            # A new model of the usual scale says what was said last, again and again.
            weight.mul_(20.0 if weight.ndim > 1 else 1.0)
    before = said(model)
    model.load_state_dict(other.state_dict())
    assert said(model) == said(other) != before
