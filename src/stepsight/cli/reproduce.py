"""`stepsight reproduce`: the paper's ablations, trained and measured, beside the paper's figures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption, check_folder, check_writable
from stepsight.cli.piecewise import (
    BoundOption,
    HereOption,
    PieceOption,
    PlanOption,
    end_with_input,
    open_model,
    print_plan,
    run_all,
    train_here,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from stepsight.pieces import Piece
    from stepsight.reproduce.figures import ReproduceResult
    from stepsight.reproduce.recipe import ReproduceRecipe
    from stepsight.reproduce.run import Tools
    from stepsight.reproduce.training import Places

SCALES = Path("recipes/reproduce")
RESULT, PAGE, PLOT = "result.json", "page.md", "accuracy.svg"


def reproduce_command(
    recipe_path: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe, instead of --scale.", show_default=False)
    ] = None,
    scale: Annotated[
        str, typer.Option("--scale", help="pico or 11b: the recipe of that name in recipes/reproduce.")
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value of the recipe, such as seeds=[0]; repeatable."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Put the figures into this page, between its marks, and the plot into its images."),
    ] = None,
    plan: PlanOption = False,
    piece: PieceOption = "",
    here: HereOption = False,
    bound: BoundOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the same model on the same questions in the forms of the paper's ablations, and compare their answers.

    A run that was killed goes on; what is finished is not done again. A recipe that names a `launch` is for other
    machines: its plan is checked and printed, command by command, until all of it is done.
    """
    from rich.console import Console

    from stepsight.pieces import hold_recipe, piece_called
    from stepsight.recipes import load_recipe
    from stepsight.reproduce.recipe import ReproduceRecipe
    from stepsight.reproduce.results import gather
    from stepsight.reproduce.run import pieces_of
    from stepsight.reproduce.training import Places
    from stepsight.study.plots import check_plots

    if bound:
        end_with_input()
    path = _recipe_path(recipe_path, scale)
    recipe = load_recipe(path, ReproduceRecipe, changes or ())
    check_folder(recipe.out)
    if page is not None:
        check_page(page)
    check_plots()
    errors = Console(stderr=True, highlight=False)
    places = Places(path, recipe.out)
    # Of no weight for what comes out: which claims are told, and how many questions are under way.
    hold_recipe(recipe, recipe.out / "recipe.yaml", free=("concurrency", "beside"))
    pieces = pieces_of(recipe, places, _tools(errors))
    words = ["reproduce", str(path), *(word for change in changes or () for word in ("--set", change))]
    if piece:
        piece_called(piece, pieces).run()
        return
    if plan or (recipe.launch and not all(one.done() for one in pieces)):
        _print_plan(recipe, places, pieces, words)
        return
    run_all(
        pieces,
        words,
        here=here,
        log=recipe.out / "seconds.jsonl",
        errors=errors,
        hint="the same command goes on from there",
    )
    _report(gather(recipe, places), recipe.out, page, shlex.join(["stepsight", *words]), as_json=as_json)


def _print_plan(recipe: ReproduceRecipe, places: Places, pieces: Sequence[Piece], words: Sequence[str]) -> None:
    """Print every piece with its command, and which recipes of training were filled in and checked."""
    print_plan(pieces, lambda name: shlex.join(["stepsight", *words, "--piece", name]))
    count = len(recipe.runs())
    typer.echo(f"{count} recipes of training check out: {places.train_recipe('*')}", err=True)


def _recipe_path(recipe: Path | None, scale: str) -> Path:
    from stepsight.errors import InputError

    if (recipe is None) == (not scale):
        raise InputError("name either a recipe or a scale", hint="stepsight reproduce --scale pico")
    if recipe is not None:
        return recipe
    path = SCALES / f"{scale}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in SCALES.glob("*.yaml"))) or "none"
        raise InputError(
            f"there is no recipe {path}",
            hint=f"scales here: {there}; run it in the repository's folder, or name a recipe",
        )
    return path


def check_page(page: Path) -> None:
    """Make sure, before any work, that a page has a place for figures.

    Raises:
        InputError: it cannot be read or written, or has no marks.
    """
    from stepsight.errors import InputError
    from stepsight.reports.reproduce import in_page

    check_writable(page)
    if not page.is_file():
        raise InputError(f"there is no page {page}", hint="give one such as docs/reproduce.md")
    in_page(page.read_text(encoding="utf-8"), "")


def _tools(errors: Console) -> Tools:
    from stepsight.reproduce.run import Tools

    return Tools(train_here, open_model, errors)


def _report(result: ReproduceResult, out: Path, page: Path | None, command: str, *, as_json: bool) -> None:
    from stepsight.files import whole_file
    from stepsight.reports.reproduce import in_page, reproduce_markdown
    from stepsight.reproduce.plots import plot_arms

    plot_arms(result, out / PLOT)
    files = {out / RESULT: result.model_dump_json(indent=2) + "\n"}
    files[out / PAGE] = reproduce_markdown(result, plot=PLOT, command=command)
    if page is not None:
        plot = plot_arms(result, page.parent / "images" / "reproduce.svg")
        figures = reproduce_markdown(result, plot=f"images/{plot.name}", command=command)
        files[page] = in_page(page.read_text(encoding="utf-8"), figures)
    for path, text in files.items():
        with whole_file(path) as stream:
            stream.write(text.encode())
    typer.echo(result.model_dump_json() if as_json else files[out / PAGE])
    typer.echo(f"figures and plot are in {page or out}", err=True)
