"""`stepsight convert`: traces from JSON lines to parquet and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption, check_writable

if TYPE_CHECKING:
    from stepsight.records import Trace


def convert_command(
    traces: Annotated[Path, typer.Argument(help="Traces, or the folder that `stepsight eval --out` wrote.")],
    out: Annotated[Path, typer.Argument(help="A file that ends in .parquet, or in .jsonl.")],
    as_json: JsonOption = False,
) -> None:
    """Write traces as parquet, which is small and can be queried, or as JSON lines again; nothing is lost."""
    from rich.console import Console

    from stepsight.errors import InputError, RecordError
    from stepsight.tracefiles import PARQUET, scan_traces, trace_file, write_traces

    check_writable(out)
    source = trace_file(traces)
    if out.suffix not in (PARQUET, ".jsonl"):
        raise InputError(f"{out} ends in neither .parquet nor .jsonl", hint="its ending says how it is written")
    if out.exists() and out.samefile(source):
        raise InputError(f"{out} is what is read", hint="choose another file")
    errors = Console(stderr=True, highlight=False)
    faults = 0

    def sound() -> Iterator[Trace]:
        nonlocal faults
        count = 0
        for row in scan_traces(source):
            if isinstance(row, RecordError):
                faults += 1
                errors.print(f"set aside: {row}", style="yellow", markup=False, soft_wrap=True)
            else:
                count += 1
                yield row
        if not count:
            raise RecordError(f"{source} holds no trace", hint="give what `stepsight eval --out` wrote")

    written = write_traces(out, sound())
    before, after = source.stat().st_size, out.stat().st_size
    if as_json:
        result = {"traces": written, "set_aside": faults, "bytes_read": before, "bytes": after, "out": str(out)}
        typer.echo(json.dumps(result))
    else:
        sizes = f"{before / 1e6:,.2f} MB to {after / 1e6:,.2f} MB, a ratio of {before / after:.1f}"
        Console(highlight=False).print(f"{written} traces, {sizes}: {out}", markup=False, soft_wrap=True)
