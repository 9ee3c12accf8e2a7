"""`stepsight export`: a model folder as servers read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="pico (shipped), or a model folder.")] = "pico",
) -> None:
    """Write a model folder in the layout that vLLM and other servers read."""
    from stepsight.cli.options import check_folder
    from stepsight.errors import InputError, MissingExtraError
    from stepsight.model_folders import resolve_model

    folder = Path(resolve_model(model))
    if not folder.is_dir():
        raise InputError(f"{model} is a hub id", hint="servers load it by themselves; give a folder to rewrite one")
    check_folder(out)
    try:
        from stepsight.engines.transformers.exporting import export_for_servers
    except ImportError as error:
        raise MissingExtraError("safetensors", "local") from error
    renamed = export_for_servers(folder, out)
    typer.echo(f"{out} ({renamed} weights renamed)" if renamed else f"{out} (no weight had to be renamed)")
