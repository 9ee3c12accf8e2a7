"""`stepsight doctor`: what was found and chosen, why, and whether the model runs exactly here."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from stepsight.cli.options import (
    AttentionOption,
    CacheOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxRowsOption,
    ModelOption,
    QuantizeOption,
    RevisionOption,
    RowsGbOption,
    ServerOption,
    ServerSeedsOption,
    SharingOption,
    ThreadsOption,
    TrustOption,
)


def doctor_command(
    model: ModelOption = "pico",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Load the model and compare the engine with the library.")
    ] = True,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
    device_map: DeviceMapOption = None,
    attention: AttentionOption = "auto",
    quantize: QuantizeOption = "none",
    cache_gb: CacheOption = 1.0,
    max_rows: MaxRowsOption = 64,
    threads: ThreadsOption = None,
    rows_gb: RowsGbOption = None,
    shared_prefix: SharingOption = "auto",
    server: ServerOption = "",
    server_seeds: ServerSeedsOption = False,
) -> None:
    """Look at the machine and at a model: what is used, why, whether it fits, and whether it runs exactly.

    With --server it is the server that is looked at: what it can do, and what follows. Leaves with 1 when the model
    cannot be used as asked.
    """
    from rich.console import Console

    from stepsight.assembly import ModelChoice, load_model
    from stepsight.diagnosis import diagnose
    from stepsight.reports.doctor import print_diagnosis
    from stepsight.reports.servers import probe_table

    choice = ModelChoice(
        model,
        device,
        dtype,
        revision,
        trust_remote_code,
        device_map=device_map,
        attention=attention,
        quantize=quantize,
        cache_gb=cache_gb,
        max_rows=max_rows,
        threads=threads,
        rows_gb=rows_gb,
        shared_prefix=shared_prefix,
        server=server,
        server_seeds=server_seeds,
    )
    errors = Console(stderr=True, highlight=False)
    if server:
        with errors.status(f"trying out {server}"):
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
