"""A recipe of training on rows with what a longer run fills in: its rows, seed, beginning and folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from stepsight.errors import RecipeError
from stepsight.recipes import load_recipe
from stepsight.training.recipe.data import StagedRows
from stepsight.training.recipe.train import TrainRecipe


def filled_recipe(
    path: Path,
    *,
    rows: Path,
    images: Path,
    seed: int,
    out: Path,
    start: str | None = None,
    changes: Sequence[str] = (),
) -> TrainRecipe:
    """The recipe at `path` with other rows, seed and folder.

    Args:
        path: a recipe that fine-tunes on rows; whatever else it says of them stays.
        rows: file of rows.
        images: the folder that their pictures start from.
        seed: of the order of rows, and of whatever else training draws.
        out: folder of the run.
        start: folder or hub id to begin from, if not the recipe's own.
        changes: further `key=value` texts.

    Raises:
        RecipeError: it does not check out, or does not fine-tune on rows.
    """
    plain = load_recipe(path, TrainRecipe)
    if plain.task != "sft" or not isinstance(plain.data, StagedRows):
        raise RecipeError(
            f"{path} does not fine-tune on rows", hint="name a recipe with task: sft whose data has rows and images"
        )
    values: dict[str, object] = {
        "data.rows": str(rows),
        "data.images": str(images),
        "data.seed": seed,
        "optimisation.seed": seed,
        "out": str(out),
    }
    if start is not None:
        values["start"] = {"folder": start}
    return load_recipe(path, TrainRecipe, [*(f"{key}={json.dumps(one)}" for key, one in values.items()), *changes])
