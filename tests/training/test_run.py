"""A run can be killed and goes on to the same weights; what cannot work is said before work starts."""

from __future__ import annotations

import json
import logging
import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback

from stepsight.errors import InputError, MissingExtraError, ModelError
from stepsight.locks import alone
from stepsight.training import extras
from stepsight.training.extras import require_training
from stepsight.training.run import train
from stepsight.training.trainer import LogFile

from .conftest import SIZES
from .runs import logged, weights, write


@pytest.fixture(autouse=True)
def _unbound_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")


class Killed(Exception):
    pass


class KillAfter(TrainerCallback):
    """Stands in for a power cut after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise Killed


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(write(tmp_path, "whole"))
    assert whole == tmp_path / "whole" / "model"

    recipe = write(tmp_path, "killed")
    with monkeypatch.context() as patched:
        before = LogFile.on_step_end
        patched.setattr(LogFile, "on_step_end", KillAfter(5).on_step_end)
        with pytest.raises(Killed):
            train(recipe)
    assert LogFile.on_step_end is before
    folder = tmp_path / "killed"
    assert not (folder / "model").exists()
    assert (folder / "checkpoint-4").is_dir()
    # Cut short while the next checkpoint was being written, before and within its last file.
    for step in (8, 9):
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"torn")
    (folder / "checkpoint-9" / "trainer_state.json").write_text('{"glob', encoding="utf-8")
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 5, "lo')

    resumed = train(recipe)
    once, twice = weights(whole), weights(resumed)
    assert once.keys() == twice.keys()
    for name, value in once.items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, twice[name], atol=1e-5), name
    assert [line["step"] for line in logged(folder)] == [1, 2, 3, 4, 5, 6, 6]
    assert [line.get("loss") for line in logged(folder)] == pytest.approx(
        [line.get("loss") for line in logged(tmp_path / "whole")]
    )
    assert not list(tmp_path.rglob("*.part"))
    processors: Any = AutoProcessor
    processors.from_pretrained(resumed)
    assert AutoModelForImageTextToText.from_pretrained(resumed).dtype == torch.float32

    # A finished run is left alone, and one that starts over is not.
    stamp = (resumed / "model.safetensors").stat().st_mtime_ns
    assert train(recipe) == resumed
    assert (resumed / "model.safetensors").stat().st_mtime_ns == stamp
    train(recipe, overrides=["optimisation.steps=1"], resume=False)
    assert (resumed / "model.safetensors").stat().st_mtime_ns != stamp
    assert [line["step"] for line in logged(folder)] == [1, 1]
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["optimisation"]["steps"] == 1


def test_a_run_does_not_disturb_another_in_its_folder(tmp_path: Path) -> None:
    recipe, folder = write(tmp_path, "run", optimisation={"steps": 1}), tmp_path / "run"
    under_way = folder / "checkpoint-2"
    under_way.mkdir(parents=True)
    # To a run that starts, a checkpoint that is just being written looks like one that was torn.
    (under_way / "model.safetensors").write_bytes(b"half")
    with alone(folder / "log.jsonl"), pytest.raises(InputError, match="another process writes to"):
        train(recipe)
    assert under_way.is_dir()
    train(recipe)
    assert not under_way.is_dir()


def test_a_frozen_vision_tower_stays_as_it_was(tmp_path: Path) -> None:
    first = train(write(tmp_path, "first", task="align", data=None, optimisation={"steps": 1, "warmup": 0}))
    start = {"folder": str(first)}
    second = train(write(tmp_path, "second", start=start, freeze_vision=True, optimisation={"steps": 1, "warmup": 0}))
    before, after = weights(first), weights(second)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("vision_tower" in name for name in changed)


def test_what_is_kept_lies_between_start_and_end(tmp_path: Path) -> None:
    begin = train(write(tmp_path, "begin", optimisation={"steps": 1}))
    start = {"folder": str(begin)}
    end = train(write(tmp_path, "end", start=start, optimisation={"steps": 2}))
    part = train(write(tmp_path, "part", start=start, optimisation={"steps": 2, "blend": 0.25}))
    first, last = weights(begin), weights(end)
    assert any(not torch.equal(first[name], last[name]) for name in first)
    for name, value in weights(part).items():
        assert torch.allclose(value, 0.75 * first[name] + 0.25 * last[name], atol=1e-6), name
    # Going on from the last checkpoint blends once more, with the same start.
    once = weights(part)
    shutil.rmtree(part)
    again = weights(train(tmp_path / "part.yaml"))
    assert all(torch.equal(again[name], value) for name, value in once.items())


def test_compiling_keeps_the_names_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, compiled = torch.compile, []

    def wrap_only(thing: Any, **options: Any) -> Any:
        # Tracing takes half a minute and says nothing about names; wrapping a module is what would change them.
        compiled.append(thing)
        return real(thing, **options, backend="eager") if isinstance(thing, torch.nn.Module) else thing

    monkeypatch.setattr(torch, "compile", wrap_only)
    data = {"mixture": {"screen": 1.0}}
    made = train(write(tmp_path, data=data, optimisation={"steps": 1, "batch": 1, "compile": True}))
    assert compiled
    models: Any = AutoModelForImageTextToText
    plain = models.from_pretrained(made, output_loading_info=True)[1]
    assert not plain["missing_keys"]
    assert not plain["unexpected_keys"]
    assert not [name for name in weights(made) if "_orig_mod" in name]


def test_a_checkpoint_of_another_model_is_not_silently_passed_over(tmp_path: Path) -> None:
    recipe = write(tmp_path, optimisation={"steps": 2})
    made = train(recipe)
    path = tmp_path / "run" / "checkpoint-2" / "model.safetensors"
    save_file({f"other.{name}": value for name, value in load_file(path).items()}, path, {"format": "pt"})
    (made / "config.json").unlink()
    with pytest.raises(ModelError, match="checkpoint-2 are not those"):
        train(recipe)


def test_training_on_rows_sets_aside_what_is_unsound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pair = [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "<SUMMARY> b </SUMMARY>"}]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"id": "1", "conversations": pair}) + "\n{\n", encoding="utf-8")
    recipe = write(tmp_path, data={"rows": str(rows), "images": str(tmp_path)}, optimisation={"steps": 1})
    with caplog.at_level(logging.WARNING, logger="stepsight"):
        assert (train(recipe) / "model.safetensors").exists()
    assert "1 rows are set aside, 1 are left" in caplog.text
    assert "rows.jsonl, line 2" in caplog.text


@pytest.mark.parametrize("task", ["sft", "align"])
def test_a_dry_run_shows_the_first_batch_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    recipe = write(tmp_path, task=task) if task == "sft" else write(tmp_path, task=task, data=None)
    assert train(recipe, dry_run=True) == tmp_path / "run" / "model"
    shown = capsys.readouterr().out
    assert "first batch: 2" in shown
    assert ("<|assistant|>" in shown and "⟦" in shown) if task == "sft" else "presence" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_missing_start_names_the_recipe_that_makes_it(tmp_path: Path) -> None:
    first = write(tmp_path, "first", task="align", data=None)
    second = write(tmp_path, "second", start={"folder": str(tmp_path / "first" / "model")})
    with pytest.raises(ModelError, match="there is no model folder") as caught:
        train(second)
    assert caught.value.hint == f"make it first: stepsight train {first}"
    assert not (tmp_path / "second").exists()
    with pytest.raises(ModelError, match="give a model folder or a hub id"):
        train(write(tmp_path, "third", start={"folder": str(tmp_path / "nowhere" / "model")}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        train(write(tmp_path, "fourth", start={"folder": str(tmp_path / "empty")}))


def test_align_needs_patches_that_are_cells(tmp_path: Path) -> None:
    sizes = SIZES.model_dump() | {"picture": 128}
    with pytest.raises(ModelError, match="7 x 7 patches"):
        train(write(tmp_path, task="align", data=None, start={"build": sizes}))


def test_several_graphics_cards_want_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="2 graphics cards are visible") as caught:
        train(write(tmp_path))
    assert f"torchrun --nproc-per-node 2 -m stepsight train {tmp_path / 'run.yaml'}" in caught.value.hint


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require_training()

    def find(name: str) -> ModuleSpec | None:
        return None if name == "accelerate" else ModuleSpec(name, None)

    monkeypatch.setattr(extras, "find_spec", find)
    with pytest.raises(MissingExtraError, match=r"accelerate is not installed .*stepsight\[train\]"):
        require_training()
