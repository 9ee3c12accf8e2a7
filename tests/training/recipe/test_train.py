"""A training recipe is checked whole: every fault is reported at once, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepsight.errors import RecipeError
from stepsight.recipes import load_recipe, save_resolved
from stepsight.training.recipe.data import StagedRows, WorldLessons
from stepsight.training.recipe.train import PicoSizes, TrainRecipe

RECIPES = Path(__file__).parents[3] / "recipes"

SOUND = """\
task: sft
start: {folder: a/b}
data: {mixture: {answer: 1.0}}
optimisation: {steps: 1, batch: 1, learning_rate: 1e-3}
out: runs/a
"""


def load(folder: Path, text: str, *overrides: str) -> TrainRecipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, TrainRecipe, overrides)


@pytest.mark.parametrize(
    "path", sorted([*RECIPES.glob("pico/*.yaml"), *RECIPES.glob("experiments/*.yaml")]), ids=lambda path: path.name
)
def test_the_shipped_recipes_check_out_and_are_a_chain(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path, TrainRecipe)
    save_resolved(recipe, tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml", TrainRecipe) == recipe


def test_data_is_lessons_or_rows(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path, SOUND).data, WorldLessons)
    assert isinstance(load(tmp_path, SOUND, "data={rows: a.jsonl, images: b}").data, StagedRows)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(
            tmp_path,
            SOUND,
            "data.mixtrue=1",
            "data.mixture.anwser=1",
            "data.judge_prompts=short-9",
            "start.folder=3",
            "optimisation.steps=0",
            "optimisation.schedule=cosinus",
            "task=tune",
        )
    message = str(caught.value)
    for fault in (
        "7 faults",
        "data.mixtrue: unknown key; did you mean data.mixture?",
        "anwser",
        "short-9",
        "start.folder",
        "optimisation.steps",
        "optimisation.schedule",
        "task",
    ):
        assert fault in message


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (["data=null"], "sft needs data"),
        (["task=align"], "align takes no data"),
        (["task=align", "data=null", "freeze_vision=true"], "nothing to learn about pictures"),
        (["data.mixture.answer=0"], "every weight is 0"),
        (["data={rows: a.jsonl}"], "data.images: is required"),
        (["start={build: {}}", "optimisation.blend=0.5"], "blend needs a folder"),
        (["start={build: {}}", "lora={}"], "lora needs a folder"),
        (["start={folder: a/b, grow: 1}", "lora={}"], "without grow"),
        (["freeze_text=true", "lora={}"], "lora is for sft of the text model"),
        (["optimisation.schedule=step"], "step falls by the epoch"),
        (["optimisation.steps=null", "optimisation.epochs=1"], "epochs are counted over rows"),
        (["optimisation.epochs=1"], "either steps or epochs"),
        (["optimisation.batch=3", "optimisation.accumulate=2"], "no multiple of accumulate"),
        (["start={build: {picture: 100}}"], "picture (100) is no multiple of patch (16)"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, overrides: list[str], fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, SOUND, *overrides)
    assert fault in str(caught.value)
    assert "1 fault\n" in str(caught.value)


def test_off_is_a_word_and_not_a_truth_value(tmp_path: Path) -> None:
    assert load(tmp_path, SOUND, "optimisation.clip=off").optimisation.clip == "off"
    assert load(tmp_path, SOUND.replace("steps: 1,", "steps: 1, clip: off,")).optimisation.clip == "off"


def test_the_shipped_sizes_are_sound() -> None:
    assert PicoSizes().picture == 7 * PicoSizes().patch
