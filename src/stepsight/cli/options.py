"""Options that several verbs share, each said once; those of models are in `model_options.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

_SEARCH = "Search"

SearchOption = Annotated[
    str, typer.Option("--search", "-s", help="stage-beam, best-of-n or greedy.", rich_help_panel=_SEARCH)
]
WidthOption = Annotated[
    int, typer.Option("--width", "-w", help="Candidates drawn at a time.", min=1, rich_help_panel=_SEARCH)
]
JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge",
        "-j",
        help="Who chooses between candidates: self, written, likelihood or vote.",
        rich_help_panel=_SEARCH,
    ),
]
SeedOption = Annotated[int, typer.Option(help="Of all sampling; the same seed gives the same answer.")]
TemperatureOption = Annotated[float, typer.Option(help="Of sampling; 0 is greedy.", min=0.0, rich_help_panel=_SEARCH)]
TopPOption = Annotated[
    float, typer.Option("--top-p", help="Sample from the top of the distribution.", rich_help_panel=_SEARCH)
]
MaxTokensOption = Annotated[
    int, typer.Option("--max-tokens", help="The most one candidate may be long.", min=1, rich_help_panel=_SEARCH)
]
GreedyFirstOption = Annotated[
    bool,
    typer.Option(
        "--greedy-first", help="Decode one candidate greedily and sample only the others.", rich_help_panel=_SEARCH
    ),
]
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
