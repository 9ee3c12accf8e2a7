"""`stepsight export`: a model folder as servers read it, or as what differs from another model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def export_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="pico (shipped), a model folder, or a checkpoint in shards or adapters."),
    ] = "pico",
    base: Annotated[
        str, typer.Option("--base", help="Write only what differs from this model, which MODEL was trained from.")
    ] = "",
) -> None:
    """Write a model folder in the layout that vLLM and other servers read, or what differs from another model.

    A checkpoint of which the weights are in shards, and adapters without their base model, become a whole model.
    """
    from stepsight.cli.options import check_folder
    from stepsight.errors import InputError, MissingExtraError
    from stepsight.model_folders import resolve_model
    from stepsight.training.checkpoints import is_part

    folder = Path(model if is_part(Path(model)) else resolve_model(model))
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
    with _whole(folder, out) as whole:
        renamed = export_for_servers(whole, out)
    typer.echo(f"{out} ({renamed} weights renamed)" if renamed else f"{out} (no weight had to be renamed)")


@contextmanager
def _whole(folder: Path, out: Path) -> Iterator[Path]:
    """The folder itself, or for a while a whole model made of a checkpoint's parts."""
    from stepsight.training.checkpoints import is_part
    from stepsight.training.extras import require_training

    if not is_part(folder):
        yield folder
        return
    require_training()
    from stepsight.training.saving import make_whole

    with TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as made:
        make_whole(folder, Path(made))
        yield Path(made)


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
