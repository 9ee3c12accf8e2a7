"""`stepsight data compose`: a recipe's rows, drawn from its sources, as the questions that `data build` reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import check_writable

if TYPE_CHECKING:
    from stepsight.data.sources.source import SetAside

NAMED = 20
"""So many rows that were set aside are named one by one; `--faults` names all of them in a file."""


def compose_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe of a dataset, such as recipes/data/llava-cot-100k.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of questions, JSON lines.")] = Path(
        "questions.jsonl"
    ),
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one value of the recipe, such as root=/data; repeatable."),
    ] = None,
    faults: Annotated[Path | None, typer.Option("--faults", help="A file that names each row set aside.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Go on where a source has too few rows.")] = False,
) -> None:
    """Draw a recipe's rows from its sources and write them as questions, which `stepsight data build` reads.

    Where a source is short, it is said before anything is written.
    """
    from contextlib import ExitStack

    from rich.console import Console

    from stepsight.data.composing import check_complete, drawn, posed, survey
    from stepsight.data.recipe import DataRecipe
    from stepsight.files import whole_file
    from stepsight.jsonl import write_jsonl
    from stepsight.recipes import load_recipe

    for path in filter(None, (out, faults)):
        check_writable(path)
    loaded = load_recipe(recipe, DataRecipe, changes or ())
    errors = Console(stderr=True, highlight=False)
    told = 0
    with ExitStack() as stack:
        stream = stack.enter_context(whole_file(faults)) if faults else None

        def tell(fault: SetAside) -> None:
            nonlocal told
            told += 1
            if stream is not None:
                stream.write(f"{fault.reason}\t{fault}\n".encode())
            elif told <= NAMED:
                errors.print(f"set aside: {fault}", style="yellow", markup=False, soft_wrap=True)

        found = survey(loaded, on_fault=tell)
    if faults is None and told > NAMED:
        errors.print(f"set aside: {told - NAMED} more; --faults names them", style="yellow", markup=False)
    for share in found.shares:
        errors.print(str(share), markup=False, soft_wrap=True)
    if not partial:
        check_complete(found)
    count = write_jsonl(out, (one for row in drawn(found) for one in posed(row, found.root, out.parent)))
    typer.echo(f"{found.rows} rows, {count} questions: {out}")
