"""`stepsight train`: a recipe becomes a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption
from stepsight.cli.plan_options import choose_plan
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from stepsight.training.plan.records import PlanChoice


@takes(choice=choose_plan)
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
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the run takes: memory, tokens, hours; load and train nothing.")
    ] = False,
    as_json: JsonOption = False,
    *,
    choice: PlanChoice,
) -> None:
    """Train a model by a recipe; a run that was killed goes on where it stopped.

    On several devices: torchrun --nproc-per-node N -m stepsight train RECIPE.
    """
    from stepsight.cli.options import check_folder
    from stepsight.errors import InputError, MissingExtraError, RecipeError

    if not recipe.is_file():
        raise RecipeError(f"there is no recipe {recipe}", hint="give a YAML file, such as one from the folder recipes")
    if as_json and not plan:
        raise InputError("--json prints a plan", hint="give --plan with it")
    if out is not None:
        check_folder(out)
    try:
        if plan:
            _plan(recipe, changes or (), choice, as_json=as_json)
            return
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


def _plan(recipe: Path, changes: Sequence[str], choice: PlanChoice, *, as_json: bool) -> None:
    """Print a recipe's plan."""
    from rich.console import Console

    from stepsight.reports.plan import print_plan
    from stepsight.training.plan.make import make_plan

    with Console(stderr=True, highlight=False).status("playing a step"):
        made = make_plan(recipe, changes, choice)
    if as_json:
        typer.echo(made.model_dump_json())
    else:
        print_plan(Console(highlight=False), made)
    if any(problem.serious for problem in made.problems):
        raise typer.Exit(1)
