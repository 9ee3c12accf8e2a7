"""`stepsight bench page`: a run, or several side by side, as one page with plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.options import check_writable

PAGE = "page.html"


def page_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Where to write it. Default: page.html in the first folder.", show_default=False),
    ] = None,
) -> None:
    """Write runs side by side as one self-contained page: scores with intervals, settings, the paper's rows."""
    target = html or folders[0] / PAGE
    check_writable(target)
    write_page(folders, target)
    typer.echo(target)


def write_page(folders: list[Path], target: Path) -> None:
    """Write the page of runs.

    Raises:
        InputError: a folder has no result.
        RecordError: a result cannot be read.
    """
    from stepsight.cli.bench.table import read_runs
    from stepsight.files import whole_file
    from stepsight.reports.bench.page import page_of_runs

    runs = read_runs(folders)
    with whole_file(target) as stream:
        stream.write(page_of_runs(runs).encode())
