"""`stepsight improve`: rejection-sampled fine-tuning, round by round."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption, check_folder
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
    from rich.console import Console

    from stepsight.rejection.loop import Tools

RESULT, PAGE = "result.json", "table.md"


def improve_command(
    recipe_path: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The recipe, such as recipes/rejection/pico.yaml.")
    ],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value of the recipe, such as rounds=1; repeatable.")
    ] = None,
    plan: PlanOption = False,
    piece: PieceOption = "",
    here: HereOption = False,
    bound: BoundOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rejection-sampled fine-tuning: let a model answer, keep what is confirmed, train on that; and measure the gain.

    A run that was killed goes on; what is finished is not done again.
    """
    from rich.console import Console

    from stepsight.files import whole_file
    from stepsight.pieces import hold_recipe, piece_called
    from stepsight.recipes import load_recipe
    from stepsight.rejection.loop import Places, improve_pieces
    from stepsight.rejection.recipe import ImproveRecipe
    from stepsight.rejection.results import gather
    from stepsight.reports.improve import improve_markdown

    if bound:
        end_with_input()
    recipe = load_recipe(recipe_path, ImproveRecipe, changes or ())
    check_folder(recipe.out)
    errors = Console(stderr=True, highlight=False)
    places = Places(recipe_path, recipe.out)
    # More rounds go on from those that are done.
    hold_recipe(recipe, recipe.out / "recipe.yaml", free=("rounds", "concurrency"))
    pieces = improve_pieces(recipe, places, _tools(errors))
    words = ["improve", str(recipe_path), *(word for change in changes or () for word in ("--set", change))]
    if piece:
        piece_called(piece, pieces).run()
        return
    if plan:
        print_plan(pieces, lambda name: shlex.join(["stepsight", *words, "--piece", name]))
        return
    run_all(
        pieces,
        words,
        here=here,
        log=recipe.out / "seconds.jsonl",
        errors=errors,
        hint="the same command goes on from there",
    )
    result = gather(recipe, places)
    page = improve_markdown(result)
    for name, text in ((RESULT, result.model_dump_json(indent=2) + "\n"), (PAGE, page)):
        with whole_file(recipe.out / name) as stream:
            stream.write(text.encode())
    typer.echo(result.model_dump_json() if as_json else page)


def _tools(errors: Console) -> Tools:
    from stepsight.files import whole_file
    from stepsight.model_folders import CARD, ModelCard, read_card, resolve_model
    from stepsight.rejection.loop import Tools

    def train(path: Path, like: str) -> object:
        model = train_here(path)
        source = Path(resolve_model(like))
        card = read_card(source) if source.is_dir() else ModelCard()
        # What it was trained from, its judging texts and its limits are those of the start; its folders are not.
        card = card.model_copy(update={"name": f"{card.name}-{path.stem}", "reward": "", "base": ""})
        with whole_file(model / CARD) as stream:
            stream.write(card.model_dump_json(indent=2, exclude_defaults=True).encode() + b"\n")
        return model

    def trained(folder: Path) -> bool:
        return (folder / CARD).is_file()

    return Tools(train, trained, open_model, resolve_model, errors)
