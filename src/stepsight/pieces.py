"""A long run as pieces, each finished or not: whoever starts it again goes on with the first that is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from stepsight.errors import InputError
from stepsight.jsonl import append_jsonl
from stepsight.recipes import load_recipe, save_resolved
from stepsight.records import Record


@dataclass(frozen=True)
class Piece:
    """A part of a run. `done` tells by what it left on disk whether it came to its end; `run` does it, or goes on.

    `command` does the same from a shell, where there is such a command besides asking for the piece itself.
    """

    name: str
    done: Callable[[], bool]
    run: Callable[[], None]
    command: str = ""


class Spent(Record):
    """What one session spent on a piece, in seconds."""

    piece: str
    seconds: float


def run_pieces(
    pieces: Sequence[Piece],
    launch: Callable[[Piece], None],
    *,
    log: Path,
    tell: Callable[[int, Piece], None] = lambda place, piece: None,
) -> int:
    """Run what is not done, in order; how many pieces that was.

    Args:
        pieces: each may need what those before it left.
        launch: runs a piece, here or elsewhere.
        log: JSON lines of what each piece took are added here.
        tell: called with place and piece before each that is run.

    Raises:
        InputError: a piece came to its end and is not done all the same: what it left was taken away.
    """
    count = 0
    for place, piece in enumerate(pieces):
        if piece.done():
            continue
        tell(place, piece)
        begun = time.perf_counter()
        launch(piece)
        append_jsonl(log, [Spent(piece=piece.name, seconds=round(time.perf_counter() - begun, 1))])
        if not piece.done():
            raise InputError(f"{piece.name} left nothing behind", hint="do two runs share the folder?")
        count += 1
    return count


def hold_recipe(recipe: BaseModel, path: Path, *, free: Collection[str] = ()) -> None:
    """Keep the resolved recipe of a run in `path`; a run that goes on must have the one that is kept there.

    Args:
        recipe: of the run.
        path: its place.
        free: top-level keys that may change meanwhile.

    Raises:
        InputError: another recipe is kept there.
        RecipeError: what is kept there does not check out any more.
    """
    if path.is_file():
        held, wanted = load_recipe(path, type(recipe)).model_dump(), recipe.model_dump()
        differing = [key for key in wanted if key not in free and held[key] != wanted[key]]
        if differing:
            raise InputError(
                f"{path.parent} belongs to a run with other {', '.join(differing)}", hint="choose another `out`"
            )
    save_resolved(recipe, path)


def piece_called(name: str, pieces: Sequence[Piece]) -> Piece:
    """The piece of that name.

    Raises:
        InputError: there is none.
    """
    for piece in pieces:
        if piece.name == name:
            return piece
    raise InputError(f"there is no piece {name!r}", hint=f"known: {', '.join(piece.name for piece in pieces)}")
