"""`stepsight train`: a recipe becomes a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train_command(
    recipe: Annotated[
        Path, typer.Argument(help="The recipe, a YAML file; see the folder recipes.", show_default=False)
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value of the recipe, such as optimisation.steps=100; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; by default the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on from the last checkpoint.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and train nothing.")] = False,
) -> None:
    """Train a model by a recipe; a run that was killed goes on where it stopped.

    On several devices: torchrun --nproc-per-node N -m stepsight train RECIPE.
    """
    from stepsight.cli.options import check_folder
    from stepsight.errors import MissingExtraError, RecipeError

    if not recipe.is_file():
        raise RecipeError(f"there is no recipe {recipe}", hint="give a YAML file, such as one from the folder recipes")
    if out is not None:
        check_folder(out)
    try:
        from stepsight.training.devices import launched_devices
        from stepsight.training.run import train
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "stepsight":
            raise
        raise MissingExtraError(package, "train") from error

    model = train(recipe, overrides=changes or (), out=out, resume=resume, dry_run=dry_run)
    if not dry_run and launched_devices().main:
        typer.echo(model)
