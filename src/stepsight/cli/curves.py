"""`stepsight curves`: what watching training runs saw, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.options import JsonOption, check_folder


def curves_command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs whose recipes say `watching`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for curves.png and curves.svg; by default that of a single run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the curves of training runs side by side, and say where they stand."""
    import json
    from dataclasses import replace

    from rich.console import Console

    from stepsight.errors import InputError
    from stepsight.reports.curves import curves_table
    from stepsight.training.watching.curves import check_curves, draw_curves, read_run

    if len(folders) > 1 and out is None:
        raise InputError("several runs have no folder in common", hint="say where to draw them: --out FOLDER")
    check_curves()
    check_folder(out or folders[0])
    runs = [read_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=str(folder)) for run, folder in zip(runs, folders, strict=True)]
    paths = draw_curves(runs, out or folders[0])
    if as_json:
        looks = {run.name: [json.loads(one.model_dump_json()) for one in run.watched] for run in runs}
        typer.echo(json.dumps(looks))
        return
    console = Console(highlight=False)
    console.print(curves_table(runs))
    for path in paths:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
