"""The same recipe on two processes gives the losses and the model of one, whole on each or sharded, stopped or not."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from stepsight.cli.app import run
from stepsight.engines.placement import Placement
from stepsight.engines.transformers.loading import load_model
from stepsight.errors import ModelError
from stepsight.locks import alone
from stepsight.training.checkpoints import SHARDS, last_checkpoint
from stepsight.training.run import train

from .launching import ACCELERATE, PATIENCE, TORCHRUN, begin, launch, step_of, stop_behind
from .runs import check_weights, logged, losses, staged_rows, write

# Three rows in twelve have a picture, so that steps without any come up, and steps with one on one device only.
PICTURED = "ttptttpttttp"


def recipe(folder: Path, start: dict[str, str], name: str, way: str, steps: int = 6) -> Path:
    how = {"steps": steps, "weight_decay": 0.1}
    return write(folder, name, start=start, data=staged_rows(folder, PICTURED), sharding={"way": way}, optimisation=how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def one(folder: Path, start: dict[str, str]) -> Path:
    return train(recipe(folder, start, "one", "none")).parent


@pytest.fixture(scope="module")
def sharded(folder: Path, start: dict[str, str]) -> tuple[Path, str]:
    said = launch(ACCELERATE, "-m", "stepsight", "train", str(recipe(folder, start, "sharded", "fsdp")))
    return folder / "sharded", said


def check_same(one: Path, other: Path, steps: int = 6) -> None:
    assert [line["step"] for line in logged(other)] == [*range(1, steps + 1), steps]
    assert losses(other) == pytest.approx(losses(one), abs=1e-4)
    check_weights(one / "model", other / "model")


def test_whole_copies_on_two_processes_equal_one(folder: Path, start: dict[str, str], one: Path) -> None:
    said = launch(TORCHRUN, "-m", "stepsight", "train", str(recipe(folder, start, "copies", "none")))
    assert said.count(str(folder / "copies/model")) == 1
    check_same(one, folder / "copies")


def test_shards_on_two_processes_equal_one(one: Path, sharded: tuple[Path, str]) -> None:
    other, said = sharded
    assert said.count(str(other / "model")) == 1
    assert (other / "checkpoint-6" / SHARDS).is_dir()
    assert not list((other / "checkpoint-6").glob("*.safetensors"))
    check_same(one, other)
    check_greedy(one / "model", other / "model")


def check_greedy(one: Path, other: Path) -> None:
    written = []
    for folder in (one, other):
        model, processor = load_model(folder, Placement("cpu", dtype="float32"), revision=None, trust_remote_code=False)
        turns = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}]
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        ids = processor.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        written.append(model.generate(ids, max_new_tokens=24, do_sample=False, attention_mask=torch.ones_like(ids)))
    assert written[0].shape[1] > 12
    assert torch.equal(*written)


def test_a_sharded_run_stops_when_asked_and_goes_on(folder: Path, start: dict[str, str]) -> None:
    train(recipe(folder, start, "long", "none", steps=30))
    same = str(recipe(folder, start, "stopped", "fsdp", steps=30))
    process = begin(TORCHRUN, "-m", "stepsight", "train", same)
    said = stop_behind(process, folder / "stopped", 2, signal.SIGINT)
    stopped = last_checkpoint(folder / "stopped")
    assert stopped is not None
    assert said.count(f"stopped at {stopped}; the same command goes on from there") == 1
    assert 2 <= step_of(stopped) == logged(folder / "stopped")[-1]["step"] < 30
    assert not (folder / "stopped/model").exists()
    launch(TORCHRUN, "-m", "stepsight", "train", same)
    check_same(folder / "long", folder / "stopped", steps=30)


def test_processes_that_find_another_run_in_their_folder_end(folder: Path, start: dict[str, str]) -> None:
    same = str(recipe(folder, start, "taken", "none"))
    with alone(folder / "taken" / "log.jsonl"):
        process = begin(TORCHRUN, "-m", "stepsight", "train", same)
        # The other process waits for the first to join; the launcher ends it.
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode
    assert said.count(f"another process writes to {folder / 'taken' / 'log.jsonl'}") == 1


def test_a_sharded_checkpoint_becomes_a_whole_model(sharded: tuple[Path, str], tmp_path: Path) -> None:
    part = sharded[0] / "checkpoint-6"
    assert run(["export", "--model", str(part), "--out", str(tmp_path / "whole")]) == 0
    place = Placement("cpu", dtype="float32")
    loaded: list[Any] = [
        load_model(one, place, revision=None, trust_remote_code=False)[0].state_dict()
        for one in (tmp_path / "whole", sharded[0] / "model")
    ]
    assert all(torch.equal(value, loaded[1][name]) for name, value in loaded[0].items())


def test_shards_are_not_read_as_whole_weights(
    folder: Path, start: dict[str, str], sharded: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(sharded[0] / "checkpoint-4", tmp_path / "run/checkpoint-4")
    same = write(tmp_path, start=start, data=staged_rows(tmp_path, PICTURED), optimisation={"steps": 6})
    with pytest.raises(ModelError, match="was saved in shards"):
        train(same)
