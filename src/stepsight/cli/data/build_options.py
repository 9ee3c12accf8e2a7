"""The options that say how a dataset is built: teacher, recipe, prices, cap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepsight.data.build_recipe import BuildRecipe

_TEACHER = "Teacher"
_SCALE = "Scale"
EXECUTORS = ("local", "ray")
"""Who may ask; see `executors.py`."""


@dataclass(frozen=True)
class BuildPlan:
    """What the options of both verbs say."""

    recipe: BuildRecipe
    server: str
    model: str
    images: Path | None
    max_dollars: int | None
    executor: str = "local"
    workers: int | None = None


def choose_build(
    server: Annotated[
        str,
        typer.Option(
            "--server",
            help="Base URL of the teacher, a server that speaks OpenAI's chat protocol; the key, if any, is "
            "STEPSIGHT_API_KEY (for OpenAI, OPENAI_API_KEY too).",
            rich_help_panel=_TEACHER,
            show_default=False,
        ),
    ] = "",
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="The teacher's id there; the only one, if empty.", rich_help_panel=_TEACHER),
    ] = "",
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="A recipe of teaching, filters and prices.", rich_help_panel=_TEACHER),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value of the recipe, such as teaching.tries=2; repeatable."),
    ] = None,
    price_in: Annotated[
        float | None, typer.Option(help="Dollars for a million tokens of prompts.", min=0.0, rich_help_panel=_TEACHER)
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(help="Dollars for a million tokens of replies.", min=0.0, rich_help_panel=_TEACHER)
    ] = None,
    max_dollars: Annotated[
        float | None,
        typer.Option("--max-dollars", help="Never spend more than this in this folder, all starts together.", min=0.0),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of the pictures, as rows name them; else as QUESTIONS names them."),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="local: this process asks; ray: workers on the nodes of a Ray cluster do.", rich_help_panel=_SCALE
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            help="So many workers of --executor ray; one on each node, unless given.", min=1, rich_help_panel=_SCALE
        ),
    ] = None,
) -> BuildPlan:
    """What the options say, checked.

    Raises:
        InputError: an option makes no sense, or the recipe does not check out.
        MissingExtraError: the executor is not installed.
    """
    from stepsight.data.build_recipe import BuildRecipe
    from stepsight.data.cluster import check_ray
    from stepsight.data.prices import PICO
    from stepsight.errors import InputError
    from stepsight.recipes import load_recipe

    if changes and recipe is None:
        raise InputError("--set changes a recipe, and none is named", hint="name one with --recipe")
    plan = BuildRecipe() if recipe is None else load_recipe(recipe, BuildRecipe, changes or ())
    given = {"input": price_in, "output": price_out}
    prices = plan.prices.model_copy(update={key: value for key, value in given.items() if value is not None})
    plan = plan.model_copy(update={"prices": prices})
    if max_dollars is not None and prices.free:
        raise InputError(
            "--max-dollars needs prices", hint="give --price-in and --price-out, or `prices` in the recipe"
        )
    cap = None if max_dollars is None else int(max_dollars * PICO)
    if executor not in EXECUTORS:
        raise InputError(f"there is no executor {executor!r}", hint=f"known: {', '.join(EXECUTORS)}")
    if executor == "ray":
        check_ray()
    elif workers is not None:
        raise InputError("--workers are those of --executor ray", hint="leave it away, or add --executor ray")
    return BuildPlan(plan, server, model, images, cap, executor, workers)
