"""`stepsight bench table`: runs side by side, and beside published rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepsight.evaluation.bench.results import BenchResult


_WIDE = 240
"""Characters of a line that goes to a file: nothing is folded there."""


def table_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show runs beside the rows of the paper, by skill and by its reasoning subsets, with intervals and conditions."""
    from rich.console import Console

    from stepsight.reports.bench.tables import grids, markdown
    from stepsight.reports.bench.terminal import grid_lines

    found = grids(read_runs(folders))
    if as_json:
        typer.echo(json.dumps({"tables": [grid.model_dump(mode="json") for grid in found]}))
    elif as_markdown:
        typer.echo("\n".join(markdown(grid) for grid in found))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_WIDE)
        for grid in found:
            for part in grid_lines(grid):
                console.print(part, soft_wrap=not console.is_terminal)


def read_runs(folders: Sequence[Path]) -> dict[str, dict[str, BenchResult]]:
    """The results of each folder by data set; a run is called by the last part of its path that tells it from others.

    Raises:
        InputError: a folder has no result, or one is named twice.
        RecordError: a result cannot be read.
    """
    from stepsight.errors import InputError
    from stepsight.evaluation.bench import find_results, read_result
    from stepsight.evaluation.bench.results import RESULT

    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise InputError("a run is named twice", hint="name each once")
    length = 1
    while len({path.parts[-length:] for path in paths}) < len(paths):
        length += 1
    return {
        "/".join(path.parts[-length:]): {
            name: read_result(place / RESULT) for name, place in find_results(path).items()
        }
        for path in paths
    }
