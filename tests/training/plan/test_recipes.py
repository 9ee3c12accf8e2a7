"""Every shipped recipe loads, its model is outlined without network, and those of fine-tuning are planned."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from stepsight.recipes import load_recipe
from stepsight.training.plan.make import make_plan
from stepsight.training.plan.outline import outline, parts_of
from stepsight.training.plan.records import Plan, PlanChoice
from stepsight.training.recipe.train import TrainRecipe

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "recipes"
TRAINING = sorted(
    path for folder in ("pico", "pico-reward", "experiments", "sft") for path in (RECIPES / folder).glob("*.yaml")
)
PUBLISHED = {
    "llama-3.2-11b-vision": 10_670_220_835,
    "qwen3-vl-8b": 8_767_123_696,
    "smolvlm-500m": 507_482_304,
}
"""Parameters as the hub counts them in each model's weights."""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, processor: Any) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("a plan asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    # Learning the words of the world takes longer than all else that is tested here.
    monkeypatch.setattr("stepsight.training.plan.outline.build_tokenizer", lambda: processor.tokenizer)
    # Recipes name folders as seen from here.
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_headed_by_its_command_and_says_why(path: Path) -> None:
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert f"stepsight train {path.relative_to(ROOT)}" in head[0]
    assert len(head) > 1
    recipe = load_recipe(path, TrainRecipe)
    assert recipe.out == Path("runs") / path.parent.name / path.stem


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_loaded_with_its_model(path: Path) -> None:
    recipe = load_recipe(path, TrainRecipe)
    made = outline(recipe, path)
    count = sum(part.parameters for part in parts_of(made.model))
    assert count == sum(weight.numel() for weight in made.model.parameters())
    if path.parent.name == "sft":
        adapters = sum(part.parameters for part in parts_of(made.model) if part.name == "adapters")
        assert count - adapters == PUBLISHED[path.stem]
        assert "has not been run on a GPU" in path.read_text(encoding="utf-8")
        assert all(weight.device.type == "meta" for weight in made.model.parameters())


@pytest.mark.parametrize("path", [path for path in TRAINING if load_recipe(path, TrainRecipe).task == "sft"], ids=str)
def test_a_recipe_of_fine_tuning_is_planned(path: Path) -> None:
    plan = make_plan(path, choice=PlanChoice(device="h100"))
    recipe = load_recipe(path, TrainRecipe)
    assert plan.lengths.learned < plan.lengths.tokens <= plan.lengths.padded <= plan.lengths.longest + 31
    assert plan.lengths.measured == (path.parent.name != "sft")
    asked, other, usual = plan.memory
    assert asked.checkpointing == recipe.optimisation.checkpointing != other.checkpointing
    kept, again = (other, asked) if asked.checkpointing else (asked, other)
    assert again.activations < kept.activations
    assert usual.total <= asked.total
    assert plan.compute.hours > 0
    # What is trained of it takes three passes, and what is not two; the vision tower comes on top of the rule.
    assert 2 * sum(plan.compute.forward.values()) < plan.compute.operations < 4.1 * sum(plan.compute.forward.values())
    assert json.loads(plan.model_dump_json())["steps"] == plan.steps
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    if path.stem == "llama-3.2-11b-vision":
        assert (plan.steps, plan.devices, plan.rows_per_turn) == (9282, 8, 4)
        assert "torchrun --nproc-per-node 8" in plan.launch
        # Weights, gradients and two moments, four bytes each, on eight devices.
        assert sum((asked.weights, asked.gradients, asked.optimiser)) == pytest.approx(2 * 10_670_220_835, rel=0.01)
        assert plan.compute.operations > plan.compute.formula
    if recipe.lora:
        assert {part.name for part in plan.parts if part.trained} == {"adapters"}
        assert asked.gradients * 20 < asked.weights
