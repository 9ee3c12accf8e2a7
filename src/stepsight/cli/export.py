"""`stepsight export`: a model folder as servers read it, or as what differs from another model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="pico (shipped), or a model folder.")] = "pico",
    base: Annotated[
        str, typer.Option("--base", help="Write only what differs from this model, which MODEL was trained from.")
    ] = "",
) -> None:
    """Write a model folder in the layout that vLLM and other servers read, or what differs from another model."""
    from stepsight.cli.options import check_folder
    from stepsight.errors import InputError, MissingExtraError
    from stepsight.model_folders import resolve_model

    folder = Path(resolve_model(model))
    if not folder.is_dir():
        raise InputError(f"{model} is a hub id", hint="servers load it by themselves; give a folder to rewrite one")
    check_folder(out)
    if base:
        typer.echo(_export_delta(folder, resolve_model(base), out))
        return
    try:
        from stepsight.engines.transformers.exporting import export_for_servers
    except ImportError as error:
        raise MissingExtraError("safetensors", "local") from error
    renamed = export_for_servers(folder, out)
    typer.echo(f"{out} ({renamed} weights renamed)" if renamed else f"{out} (no weight had to be renamed)")


def _export_delta(folder: Path, base: str, out: Path) -> str:
    import os

    from stepsight.engines.placement import Placement
    from stepsight.engines.transformers.deltas import write_delta
    from stepsight.engines.transformers.loading import load_model
    from stepsight.files import whole_file
    from stepsight.model_folders import CARD, DELTA, read_card

    place = Placement("cpu", dtype="float32")
    trained, before = (load_model(one, place, revision=None, trust_remote_code=False)[0] for one in (folder, base))
    count = write_delta(trained, before, out / DELTA)
    card = read_card(folder).model_copy(update={"base": os.path.relpath(base, out)})
    with whole_file(out / CARD) as stream:
        stream.write(card.model_dump_json(indent=2, exclude_defaults=True).encode() + b"\n")
    return f"{out} ({count} weights differ, {(out / DELTA).stat().st_size / 1e6:.1f} MB)"
