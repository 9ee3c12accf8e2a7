"""The recipe of training for each arm and seed: one recipe for all, with the arm's rows, seed, beginning and folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepsight.data.ablations import PARQUET, Form
from stepsight.data.staged_rows import TRAIN
from stepsight.recipes import load_recipe, save_resolved
from stepsight.reproduce.recipe import DrawnRows, ReproduceRecipe, TrainedArm
from stepsight.training.recipe.filled import filled_recipe
from stepsight.training.recipe.train import TrainRecipe


@dataclass(frozen=True)
class Places:
    """Where everything of a run lies. `recipe` is the file that paths of other recipes start from."""

    recipe: Path
    out: Path

    def beside(self, name: Path) -> Path:
        """A recipe that is named as seen from the folder of this one."""
        return self.recipe.parent / name

    def trained(self, run: str) -> Path:
        """The folder of a training run."""
        return self.out / "train" / run

    def train_recipe(self, run: str) -> Path:
        """The recipe that was filled in for it."""
        return self.out / "recipes" / f"{run}.yaml"

    def answers(self, run: str, set_name: str) -> Path:
        """What its model answered to a set of questions."""
        return self.out / "answers" / run / set_name

    def questions(self, set_name: str) -> Path:
        """Questions that are drawn, and their pictures."""
        return self.out / "questions" / set_name

    def searched(self, seed: int) -> Path:
        """What searches with the model of a seed gave."""
        return self.out / "search" / f"seed-{seed}"

    def model(self, run: str) -> Path:
        """The trained model."""
        return self.trained(run) / "model"

    def rows(self, form: Form, like: Path) -> Path:
        """Rows in a form; parquet stays parquet."""
        return self.out / "rows" / f"{form.value}{PARQUET if like.suffix == PARQUET else '.jsonl'}"


def run_name(arm: TrainedArm, seed: int) -> str:
    """What a run of training is called."""
    return f"{arm.called}-{seed}"


def staged_rows(recipe: ReproduceRecipe, places: Places) -> tuple[Path, Path]:
    """The file of staged rows and the folder of their pictures. They need not be there: a plan is made anywhere."""
    if isinstance(recipe.rows, DrawnRows):
        folder = places.out / "rows" / "drawn"
        return folder / TRAIN, folder
    rows = recipe.rows if recipe.rows.suffix in (".jsonl", PARQUET) else recipe.rows / TRAIN
    return rows, recipe.images or rows.parent


def start_recipes(recipe: ReproduceRecipe, places: Places) -> list[tuple[Path, TrainRecipe]]:
    """The recipes that are run before all arms.

    Raises:
        RecipeError: one of them does not check out.
    """
    paths = [places.beside(name) for name in recipe.starts]
    return [(path, load_recipe(path, TrainRecipe)) for path in paths]


def arm_recipe(
    recipe: ReproduceRecipe, places: Places, arm: TrainedArm, seed: int, starts: Sequence[tuple[Path, TrainRecipe]]
) -> TrainRecipe:
    """The recipe by which an arm is trained with a seed.

    Args:
        recipe: of the comparison.
        places: of the run.
        arm: how.
        seed: decides the order of rows, and whatever else the training draws.
        starts: what `start_recipes` gives.

    Raises:
        RecipeError: the recipe does not check out with what is filled in, or does not train on rows.
    """
    rows, images = staged_rows(recipe, places)
    return filled_recipe(
        places.beside(recipe.train),
        rows=rows if arm.form is Form.STAGED else places.rows(arm.form, rows),
        images=images,
        seed=seed,
        out=places.trained(run_name(arm, seed)),
        start=str(starts[-1][1].out / "model") if starts else None,
        changes=arm.changes,
    )


def write_train_recipes(recipe: ReproduceRecipe, places: Places) -> list[tuple[str, TrainRecipe]]:
    """Write the filled-in recipes of all arms and seeds, and give them by the names of their runs.

    Raises:
        RecipeError: one does not check out.
    """
    starts = start_recipes(recipe, places)
    made = [(run_name(arm, seed), arm_recipe(recipe, places, arm, seed, starts)) for arm, seed in recipe.runs()]
    for name, one in made:
        save_resolved(one, places.train_recipe(name))
    return made
