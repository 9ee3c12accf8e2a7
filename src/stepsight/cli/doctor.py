"""`stepsight doctor`: what was found and chosen, why, and whether the model runs exactly here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.model_options import choose_model
from stepsight.cli.options import JsonOption
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from stepsight.assembly import ModelChoice


@takes(choice=choose_model)
def doctor_command(
    *,
    choice: ModelChoice,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Load the model and compare the engine with the library.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Look at the machine and at a model: what is used, why, whether it fits, and whether it runs exactly.

    With --server it is the server that is looked at: what it can do, and what follows. Leaves with 1 when the model
    cannot be used as asked.
    """
    from rich.console import Console

    from stepsight.assembly import load_model
    from stepsight.diagnosis import diagnose
    from stepsight.reports.doctor import print_diagnosis
    from stepsight.reports.servers import probe_table

    errors = Console(stderr=True, highlight=False)
    if choice.server:
        with errors.status(f"trying out {choice.server}"):
            loaded = load_model(choice)
        assert loaded.probe is not None
        if as_json:
            typer.echo(loaded.probe.model_dump_json())
        else:
            Console(highlight=False).print(probe_table(loaded.probe))
        return
    with errors.status("looking at the machine") as status:
        diagnosis = diagnose(choice, check=check, tell=status.update)
    if as_json:
        typer.echo(json.dumps({"usable": diagnosis.usable, **diagnosis.model_dump(mode="json")}, ensure_ascii=False))
    else:
        print_diagnosis(Console(highlight=False), diagnosis)
    if not diagnosis.usable:
        raise typer.Exit(1)
