"""`stepsight data select`: out of stored traces, the answers that are confirmed, as rows to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.options import JsonOption, check_folder


def select_command(
    traces: Annotated[
        list[Path], typer.Argument(help="Files of traces, or folders of `stepsight eval`.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for train.jsonl, images, manifest.json.")],
    by: Annotated[
        str, typer.Option("--by", help="Who confirms: world (its checker), answer (the known one), judge (its scores).")
    ] = "world",
    stages: Annotated[str, typer.Option(help="What the world's checker looks at: every or conclusion.")] = "every",
    least: Annotated[float | None, typer.Option(help="With --by judge: the score from which on it confirms.")] = None,
    most: Annotated[int, typer.Option(help="The most answers kept to a question.", min=1)] = 1,
    easiest: Annotated[
        float,
        typer.Option(help="Leave out questions of whose answers more than this share is confirmed.", min=0, max=1),
    ] = 1.0,
    rows: Annotated[int | None, typer.Option(help="The most rows in all.", min=1)] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option("--balance", help="Divide --rows evenly: family, difficulty; repeatable.", show_default=False),
    ] = None,
    control: Annotated[
        bool,
        typer.Option("--control", help="Keep as many of the same questions, but confirmed or not, to compare with."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides which rows --rows leaves, and what --control draws.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Keep answers that the truth, the known answer or a judge confirms, as staged rows (rejection sampling).

    Every answer in the traces is looked at, chosen by its search or not. Questions that are there to measure with are
    refused.
    """
    from pydantic import ValidationError

    from stepsight.errors import InputError
    from stepsight.rejection.selecting import Selection, select
    from stepsight.rejection.writing import write_selected
    from stepsight.tracefiles import read_traces, trace_file

    check_folder(out)
    given = {"by": by, "stages": stages, "least": least, "most": most, "easiest": easiest, "rows": rows, "seed": seed}
    try:
        selection = Selection.model_validate({**given, "balance": balance or [], "control": control})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"--{part} " for part in fault["loc"][:1])
        raise InputError(f"{where}{fault['msg']}", hint="see stepsight data select --help") from error
    found = [trace for path in traces for trace in read_traces(trace_file(path))]
    selected = select(found, selection)
    manifest = write_selected(selected, selection, out, model=str(found[0].settings.get("engine", "")))
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    typer.echo(f"{manifest.rows:,} rows of {selected.answers:,} answers to {selected.traces:,} questions: {out}")
    reasons = ", ".join(f"{count:,} {why}" for why, count in manifest.set_aside.items())
    if reasons:
        typer.echo(f"left out: {reasons}", err=True)
