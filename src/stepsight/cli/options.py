"""Options that several verbs share, each said once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel

_MODEL = "Model"
_SEARCH = "Search"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="pico (shipped), a model folder, or a hub id; with --server, its id there.",
        rich_help_panel=_MODEL,
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=_MODEL)]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=_MODEL)]
RevisionOption = Annotated[str | None, typer.Option(help="Revision of a hub model.", rich_help_panel=_MODEL)]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that a hub model brings along.", rich_help_panel=_MODEL),
]
DeviceMapOption = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        help='auto, balanced, or JSON such as {"": "cuda:0"}; instead of --device.',
        rich_help_panel=_MODEL,
    ),
]
AttentionOption = Annotated[str, typer.Option(help="auto, sdpa or eager.", rich_help_panel=_MODEL)]
QuantizeOption = Annotated[
    str, typer.Option(help="none, 8bit or 4bit weights, by bitsandbytes.", rich_help_panel=_MODEL)
]
CacheOption = Annotated[
    float, typer.Option("--cache-gb", help="GiB for key-values and pictures kept.", min=0.0, rich_help_panel=_MODEL)
]
RowsGbOption = Annotated[
    float | None,
    typer.Option(
        "--rows-gb",
        help="GiB for key-values of rows in work; those beyond wait. Half of what is free, unless given.",
        min=0.0,
        rich_help_panel=_MODEL,
    ),
]
SharingOption = Annotated[
    str,
    typer.Option(
        "--shared-prefix",
        help="Whether rows attend to one copy of what they have in common: auto, on or off.",
        rich_help_panel=_MODEL,
    ),
]
MaxRowsOption = Annotated[
    int, typer.Option("--max-rows", help="The most rows in one batch.", min=1, rich_help_panel=_MODEL)
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="Threads of torch inside one operation.", min=1, rich_help_panel=_MODEL)
]
ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        help="Base URL of a server that speaks OpenAI's chat protocol and runs the model, such as "
        "http://localhost:8000/v1; the key, if any, is STEPSIGHT_API_KEY (for OpenAI, OPENAI_API_KEY too).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
ServerSeedsOption = Annotated[
    bool,
    typer.Option("--server-seeds", help="Send seeds to the server; a few servers die of it.", rich_help_panel=_MODEL),
]
JudgePromptsOption = Annotated[
    str,
    typer.Option(
        "--judge-prompts",
        help="Version of the judging texts: paper-1 or short-2 (pico's). Default: what the model's card names, else "
        "paper-1.",
        rich_help_panel=_SEARCH,
        show_default=False,
    ),
]
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


def brought_model(context: typer.Context) -> LoadedModel | None:
    """The loaded model that the caller of `stepsight.cli.app.run` brought along, if any."""
    from stepsight.assembly import LoadedModel

    return context.obj if isinstance(context.obj, LoadedModel) else None


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
