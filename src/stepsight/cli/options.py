"""What several verbs ask of their options; those of models and searches are in `model_options` and `search_options`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def check_writable(path: Path) -> None:
    """Make sure, before any work, that a file can be written there.

    Raises:
        InputError: it cannot.
    """
    from stepsight.errors import InputError

    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="give the name of a file")
    check_folder(path.absolute().parent)


def check_folder(path: Path) -> None:
    """Make sure, before any work, that a folder is there or can be made, and written to.

    Raises:
        InputError: it cannot.
    """
    from stepsight.errors import InputError

    nearest = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest} is a file, not a folder", hint="choose another place")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{nearest} is not yours to write in", hint="choose another place")


@contextmanager
def counting(what: str) -> Iterator[Callable[[str, int], None]]:
    """A status line on stderr, where that is a terminal; it is told every thousandth."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status(what) as status:

        def tell(things: str, done: int) -> None:
            if done % 1000 == 0:
                status.update(f"{what} {done:,} {things}")

        yield tell
