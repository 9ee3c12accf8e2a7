"""`stepsight data sources`: which datasets can be read, where they come from, and what of them is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption

if TYPE_CHECKING:
    from stepsight.data.sources.source import Found, Source

RootOption = Annotated[Path, typer.Option("--root", help="The folder that holds a folder per dataset.")]


def sources_command(root: RootOption = Path("."), as_json: JsonOption = False) -> None:
    """List every source: licence, origin, the paper's count, the files expected, and those found under the root."""
    from stepsight.data.sources.catalogue import catalogue
    from stepsight.errors import InputError, MissingExtraError

    if not root.is_dir():
        raise InputError(f"{root}: no such folder", hint="give the folder that holds a folder per dataset")
    rows: list[tuple[Source, Found | None, str]] = []
    for source in catalogue().values():
        try:
            rows.append((source, source.find(root), ""))
        except MissingExtraError as error:
            rows.append((source, None, str(error)))  # the other sources can be read without it
    if as_json:
        typer.echo(json.dumps({"root": str(root), "sources": [_as_json(*row) for row in rows]}))
    else:
        _print(root, rows)


def _as_json(source: Source, found: Found | None, fault: str) -> dict[str, object]:
    files = found.files if found else ()
    return {
        "name": source.name,
        "licence": source.licence,
        "homepage": source.homepage,
        "layout": source.layout,
        "paper_count": source.paper_count,
        "rows": found.rows if found else None,
        "files": [{"path": str(file.path), "rows": file.rows, "fault": file.fault} for file in files],
        "missing": list(found.missing) if found else [],
        "fault": fault,
    }


def _print(root: Path, rows: list[tuple[Source, Found | None, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table("source", box=None, pad_edge=False, header_style="bold cyan")
    for title in ("paper", "found"):
        table.add_column(title, justify="right")
    table.add_column("licence")
    for source, found, _ in rows:
        paper = "-" if source.paper_count is None else f"{source.paper_count:,}"
        there = "?" if found is None else f"{found.rows:,}" if found.files else "-"
        table.add_row(source.name, paper, there, Text(source.licence))
    console.print(table)
    console.print(f"\nexpected below {root}", style="bold cyan", markup=False)
    for source, found, fault in rows:
        console.print(Text.assemble((f"{source.name:<12}", "dim"), source.layout), soft_wrap=True)
        console.print(Text(f"{'':<12}from {source.homepage}", style="dim"), soft_wrap=True)
        for line in [fault] if found is None else found.faults:
            console.print(Text(f"{'':<12}{line}", style="yellow"), soft_wrap=True)
