"""How a run is spread over devices is decided, or refused, before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from stepsight.errors import InputError, StepsightError
from stepsight.recipes import load_recipe
from stepsight.training.devices import (
    Devices,
    check_devices,
    fsdp_settings,
    join_devices,
    launched_devices,
    rows_per_turn,
    zero3_settings,
)
from stepsight.training.recipe.train import TrainRecipe

from .runs import write

SHARDED = {"way": "fsdp"}


def recipe(folder: Path, **changes: Any) -> TrainRecipe:
    return load_recipe(write(folder, **changes), TrainRecipe)


def test_the_launcher_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_devices() == Devices(1, 0)
    assert launched_devices().main
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert launched_devices() == Devices(8, 3)
    assert not launched_devices().main


def test_a_batch_is_divided_over_devices_and_turns(tmp_path: Path) -> None:
    how = recipe(tmp_path, optimisation={"batch": 24, "accumulate": 2}).optimisation
    assert rows_per_turn(how, Devices(1)) == 12
    assert rows_per_turn(how, Devices(4)) == 3
    with pytest.raises(InputError, match="24 rows cannot be divided over 5 devices in 2 turns") as caught:
        rows_per_turn(how, Devices(5))
    assert "multiple of 10" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "count", "fault"),
    [
        ({"sharding": SHARDED}, 1, "one process to shard over"),
        ({"optimisation": {"batch": 3}}, 2, "cannot be divided"),
        ({"task": "align", "data": None}, 2, "align weighs"),
        ({"task": "align", "data": None, "optimisation": {"accumulate": 2}}, 1, "align weighs"),
        ({"task": "reward", "data": {"spoiled": 1}, "sharding": SHARDED}, 2, "keep the model whole"),
        ({"data": {"mixture": {"read": 1}, "marks": {}}, "sharding": SHARDED}, 2, "keep the model whole"),
        ({"sharding": SHARDED, "optimisation": {"compile": True}}, 2, "compiled models"),
        ({"sharding": {"way": "zero3"}}, 2, "deepspeed is not installed"),
        ({"sharding": {"way": "zero3"}, "start": {"folder": "a"}, "lora": {}}, 2, "adapters are not gathered"),
    ],
)
def test_what_is_not_exact_is_refused(tmp_path: Path, changes: dict[str, Any], count: int, fault: str) -> None:
    with pytest.raises(StepsightError, match=fault) as caught:
        check_devices(recipe(tmp_path, **changes), Devices(count), Path("a.yaml"))
    assert caught.value.hint


def test_the_rest_may_be_spread(tmp_path: Path) -> None:
    for changes in ({"sharding": SHARDED}, {"task": "reward", "data": {"spoiled": 1}}, {}):
        check_devices(recipe(tmp_path, **changes), Devices(2), Path("a.yaml"))


def test_a_launchers_own_settings_are_left_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION", "FSDP_VERSION"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    join_devices(recipe(tmp_path), Devices())
    assert not {"ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION", "FSDP_VERSION"} & os.environ.keys()
    assert os.environ["ACCELERATE_USE_CPU"] == "True"


def test_fsdp_is_told_what_the_recipe_says(tmp_path: Path, model: Any) -> None:
    told = fsdp_settings(recipe(tmp_path, sharding=SHARDED, optimisation={"checkpointing": True}), model)
    assert told["version"] == 2
    assert told["activation_checkpointing"] is True
    assert "LlamaDecoderLayer" in told["transformer_layer_cls_to_wrap"]
    wrapped = fsdp_settings(recipe(tmp_path, sharding=SHARDED | {"wrap": ["LlamaMLP"]}), model)
    assert wrapped["transformer_layer_cls_to_wrap"] == ["LlamaMLP"]
    assert wrapped["activation_checkpointing"] is False


def test_zero3_is_told_what_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for clip, bound in (("off", 0.0), (0.5, 0.5)):
        told = zero3_settings(recipe(tmp_path, optimisation={"clip": clip}))
        assert told["zero_optimization"]["stage"] == 3
        assert told["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
        assert told["gradient_clipping"] == bound
        assert told["train_micro_batch_size_per_gpu"] == told["gradient_accumulation_steps"] == "auto"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_devices(recipe(tmp_path, sharding={"way": "zero3"}), Devices(2), Path("a.yaml"))


def test_cards_need_a_process_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="4 graphics cards are visible") as caught:
        check_devices(recipe(tmp_path), Devices(), Path("a.yaml"))
    assert "torchrun --nproc-per-node 4 -m stepsight train a.yaml" in caught.value.hint
    check_devices(recipe(tmp_path, optimisation={"batch": 4}), Devices(4), Path("a.yaml"))
    monkeypatch.setenv("RANK", "0")  # a launcher that was asked for one process
    check_devices(recipe(tmp_path), Devices(), Path("a.yaml"))
