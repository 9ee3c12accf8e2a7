"""A recipe's options reach the library as they are meant; what cannot work is said before work starts."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch

from stepsight.errors import InputError, ModelError, StepsightError
from stepsight.recipes import load_recipe
from stepsight.training import arguments
from stepsight.training.arguments import LIGER_FAMILIES, check_liger, training_arguments
from stepsight.training.devices import Devices
from stepsight.training.recipe.train import TrainRecipe
from stepsight.training.run import train

from .runs import losses, staged_rows, weights, write


def told(folder: Path, model: Any, start: dict[str, str], **how: Any) -> Any:
    data = staged_rows(folder, "pt")
    recipe = load_recipe(write(folder, start=start, data=data, optimisation=how), TrainRecipe)
    return training_arguments(recipe, model, Devices(), steps=9)


def test_the_papers_options_are_passed_on(tmp_path: Path, model: Any, start: dict[str, str]) -> None:
    paper = {"schedule": "step", "clip": "off", "weight_decay": 0.0, "learning_rate": 1e-5, "warmup": 0, "bf16": True}
    made = told(tmp_path, model, start, batch=32, accumulate=2, seed=42, **paper)
    assert (made.max_steps, made.learning_rate, made.weight_decay, made.seed) == (9, 1e-5, 0.0, 42)
    assert made.max_grad_norm == 0
    assert made.bf16
    assert made.lr_scheduler_type == "constant"  # StepLR is put in its place
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (16, 2)
    assert not made.activation_checkpointing
    assert made.report_to == []


def test_a_bound_and_checkpointing_are_passed_on(tmp_path: Path, model: Any, start: dict[str, str]) -> None:
    made = told(tmp_path, model, start, batch=8, clip=0.5, checkpointing=True)
    assert made.max_grad_norm == 0.5
    assert made.activation_checkpointing
    assert made.activation_checkpointing_kwargs == {"use_reentrant": False}
    assert made.ddp_find_unused_parameters
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(False)
    assert not told(tmp_path, model, start, batch=8).ddp_find_unused_parameters


def test_bfloat16_is_what_is_computed_in(tmp_path: Path, start: dict[str, str]) -> None:
    data = staged_rows(tmp_path, "pt")
    found = {}
    for bf16 in (False, True):
        how = {"steps": 1, "bf16": bf16}
        folder = train(write(tmp_path, f"bf16-{bf16}", start=start, data=data, optimisation=how)).parent
        (found[bf16],) = losses(folder)
        assert all(value.dtype == torch.float32 for value in weights(folder / "model").values())
    assert found[True] == pytest.approx(found[False], rel=1e-2)
    assert found[True] != found[False]


def test_liger_is_for_cards_and_some_families(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="graphics cards only"):
        check_liger("llava", card=False)
    with pytest.raises(ModelError, match="no kernels for models of type idefics3"):
        check_liger("idefics3", card=True)
    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    with pytest.raises(StepsightError, match="liger-kernel is not installed"):
        check_liger("mllama", card=True)
    monkeypatch.setattr(arguments, "find_spec", lambda name: ModuleSpec(name, None))
    for family in LIGER_FAMILIES:
        check_liger(family, card=True)


def test_what_cannot_work_is_said_before_work_starts(tmp_path: Path, start: dict[str, str]) -> None:
    data = staged_rows(tmp_path, "pt")
    with pytest.raises(InputError, match="graphics cards only"):
        train(write(tmp_path, start=start, data=data, optimisation={"liger": True}))
    with pytest.raises(InputError, match="no tracker is called tensorbored") as caught:
        train(write(tmp_path, start=start, data=data, report_to=["tensorbored"]))
    assert "tensorboard" in caught.value.hint
    with pytest.raises(StepsightError, match="comet_ml is not installed"):
        train(write(tmp_path, start=start, data=data, report_to=["comet_ml"]))
    assert not (tmp_path / "run").exists()


def test_trackers_get_what_the_log_gets(tmp_path: Path, start: dict[str, str]) -> None:
    data = staged_rows(tmp_path, "pt")
    train(write(tmp_path, start=start, data=data, report_to=["tensorboard"], optimisation={"steps": 1}))
    (written,) = (tmp_path / "run/runs").rglob("events.out.tfevents.*")
    assert b"answer_tokens_right" in written.read_bytes()
    assert (tmp_path / "run/log.jsonl").is_file()
