"""`stepsight data ablate`: staged rows in the forms of the paper's ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.data.audit import DatasetArgument, ImagesOption
from stepsight.cli.options import check_writable, counting


def ablate_command(
    dataset: DatasetArgument,
    form: Annotated[str, typer.Option("--form", help="direct, no-tags, apart, shuffled or staged.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, .jsonl or .parquet.")],
    images: ImagesOption = None,
    seed: Annotated[int, typer.Option(help="Of the orders of `shuffled`.")] = 0,
) -> None:
    """Write the same questions and pictures with answers of another form: direct, without tags, apart, shuffled.

    Pictures stay where they are: train on the file with the same folder of images.
    """
    from stepsight.data.ablations import Form, write_form
    from stepsight.data.staged_rows import dataset_files
    from stepsight.errors import InputError

    if form not in tuple(Form):
        raise InputError(f"there is no form {form!r}", hint=f"choose one of {', '.join(Form)}")
    check_writable(out)
    rows, folder = dataset_files(dataset, images)
    with counting("reading") as tell:
        told = write_form(rows, folder, out, Form(form), seed=seed, progress=lambda done: tell("rows", done))
    typer.echo(f"{told.rows:,} rows of {told.read:,}: {out}")
    if told.set_aside:
        typer.echo(f"left out: {', '.join(f'{n:,} {kind}' for kind, n in told.set_aside.items())}", err=True)
