"""`stepsight data audit`, `sheet`, `import` and `export`: what can be done with a dataset that is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.options import JsonOption, check_folder, check_writable, counting

DatasetArgument = Annotated[
    Path, typer.Argument(help="Rows in the format of LLaVA-CoT-100k, or a folder that holds train.jsonl.")
]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="The folder that `image` paths start from; by default that of the rows.")
]


def audit_command(
    dataset: DatasetArgument,
    images: ImagesOption = None,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="A benchmark's TSV file; repeatable.", show_default=False)
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="Share of rows that a kind may concern, such as leak=0.01; repeatable."),
    ] = None,
    far: Annotated[float, typer.Option(help="Robust z from which on a stage's length is an outlier.", min=1.0)] = 6.0,
    keep: Annotated[int, typer.Option(help="So many findings of each kind keep their places.", min=0)] = 200,
    workers: Annotated[int | None, typer.Option(help="Threads that decode pictures.", min=1)] = None,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page, as HTML.")] = None,
) -> None:
    """Look at every row and picture of a dataset: form, pictures, leaks, duplicates, benchmarks, outliers.

    Leaves with 1 when there is more of a kind than is allowed, or when a benchmark could not be compared whole.
    """
    from stepsight.data.audit import audit, headline
    from stepsight.data.audit_page import audit_page
    from stepsight.data.audit_report import allowances
    from stepsight.data.staged_rows import dataset_files
    from stepsight.files import whole_file

    if out is not None:
        check_writable(out)
    allowed = allowances(dict(_share(text) for text in allow or ()))
    rows, folder = dataset_files(dataset, images)
    with counting("looking at") as tell:
        report = audit(
            rows,
            folder,
            benchmarks=against or (),
            allowed=allowed,
            far=far,
            kept=keep,
            workers=workers or os.cpu_count() or 1,
            progress=tell,
        )
    if out is not None:
        with whole_file(out) as stream:
            stream.write(audit_page(report).encode())
    typer.echo(report.model_dump_json() if as_json else "\n".join(headline(report)))
    if not report.clean:
        raise typer.Exit(1)


def sheet_command(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, as HTML.")],
    images: ImagesOption = None,
    examples: Annotated[int, typer.Option(help="So many rows are shown, with their pictures.", min=0)] = 8,
    seed: Annotated[int, typer.Option(help="Decides which rows are shown.")] = 0,
) -> None:
    """Write a dataset's data sheet: counts, lengths of stages, reject reasons, cost, and examples, as one page."""
    from stepsight.data.sheet import read_sheet, sheet_page
    from stepsight.data.staged_rows import dataset_files
    from stepsight.files import whole_file

    check_writable(out)
    rows, folder = dataset_files(dataset, images)
    with counting("reading") as tell:
        sheet = read_sheet(rows, seed=seed, examples=examples, progress=lambda done: tell("rows", done))
    with whole_file(out) as stream:
        stream.write(sheet_page(sheet, folder, examples=examples).encode())
    typer.echo(out)


def import_command(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for train.jsonl, set_aside.jsonl, manifest.json.")],
    images: ImagesOption = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every picture, not only its header.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take over LLaVA-CoT-100k, or a dataset in its format: sound rows as they are, the others set aside by line."""
    from stepsight.data.importing import import_rows
    from stepsight.data.staged_rows import dataset_files

    check_folder(out)
    rows, folder = dataset_files(dataset, images)
    with counting("reading") as tell:
        imported = import_rows(rows, folder, out, decode=decode, progress=lambda done: tell("rows", done))
    manifest = imported.manifest
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    reasons = ", ".join(f"{count:,} {kind}" for kind, count in manifest.set_aside.items())
    typer.echo(f"{manifest.rows:,} rows, {manifest.turns:,} turns: {out}")
    if reasons:
        typer.echo(f"set aside: {reasons}", err=True)


def export_command(
    dataset: DatasetArgument,
    to: Annotated[str, typer.Option("--to", help="trl, llama-factory, ms-swift or parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")],
    images: ImagesOption = None,
    relative: Annotated[bool, typer.Option("--relative", help="Leave paths relative to the folder of images.")] = False,
) -> None:
    """Write a dataset as another trainer reads it; rows that cannot be used are left out and counted."""
    from stepsight.data.exporting import Target, export
    from stepsight.data.staged_rows import dataset_files
    from stepsight.errors import InputError

    if to not in tuple(Target):
        raise InputError(f"there is no format {to!r}", hint=f"choose one of {', '.join(Target)}")
    check_folder(out)
    rows, folder = dataset_files(dataset, images)
    with counting("reading") as tell:
        told = export(rows, folder, out, Target(to), relative=relative, progress=lambda done: tell("rows", done))
    typer.echo(f"{told.rows:,} rows: {told.path}")
    if told.set_aside:
        typer.echo(f"left out: {', '.join(f'{n:,} {kind}' for kind, n in told.set_aside.items())}", err=True)


def _share(text: str) -> tuple[str, float]:
    from stepsight.errors import InputError

    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise InputError(f"--allow {text} names no share", hint="write it as leak=0.01") from error
