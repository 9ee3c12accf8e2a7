"""Long runs of the command line: each piece in a process of its own, which ends with the one that started it.

A process of its own, because training and answering are in each other's way in one: both keep teams of threads, and
compiled code, for as long as the process lasts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from stepsight.pieces import Piece
    from stepsight.study.opening import Opened

PieceOption = Annotated[
    str, typer.Option("--piece", help="Do this one piece and no other; see --plan for their names.")
]
PlanOption = Annotated[bool, typer.Option("--plan", help="Check everything, print the pieces, and run none.")]
HereOption = Annotated[bool, typer.Option("--here", help="Run all pieces in this process, for those who debug.")]
BoundOption = Annotated[bool, typer.Option("--bound", hidden=True, help="End when standard input does.")]

_ENDING = 10.0
"""So many seconds a piece has to end by itself."""


def run_all(
    pieces: Sequence[Piece], words: Sequence[str], *, here: bool, log: Path, errors: Console, hint: str
) -> None:
    """Run what is not done, each piece by this program again with `words` and its name, or `here`.

    Raises:
        StepsightError: a piece failed; what it said stands above.
    """
    from stepsight.pieces import run_pieces

    def tell(place: int, piece: Piece) -> None:
        errors.print(f"{place + 1} of {len(pieces)}: {piece.name}", markup=False, soft_wrap=True)

    def launch(piece: Piece) -> None:
        if here:
            piece.run()
        else:
            _as_process([*words, "--piece", piece.name, "--bound"], piece.name, hint)

    run_pieces(pieces, launch, log=log, tell=tell)


def _as_process(words: Sequence[str], name: str, hint: str) -> None:
    from stepsight.errors import StepsightError

    # The child reads nothing from its standard input; it waits for its end, which comes however this process ends.
    with subprocess.Popen([sys.executable, "-m", "stepsight", *words], stdin=subprocess.PIPE) as child:
        try:
            code = child.wait()
        except BaseException:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(_ENDING)
            except subprocess.TimeoutExpired:
                child.kill()
            raise
    if code:
        raise StepsightError(f"{name} did not come to its end", hint=hint)


def end_with_input() -> None:
    """End this process when its standard input ends, from a thread of its own."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def print_plan(pieces: Sequence[Piece], command: Callable[[str], str]) -> None:
    """Print the pieces in order, each with a command that does it."""
    for place, piece in enumerate(pieces, start=1):
        state = " (done)" if piece.done() else ""
        typer.echo(f"# {place} of {len(pieces)}: {piece.name}{state}\n{piece.command or command(piece.name)}")


def train_here(path: Path) -> Path:
    """Run a recipe of training in this process; the folder of the model.

    Raises:
        MissingExtraError: the packages that train are not installed.
    """
    from stepsight.training.extras import require_training

    require_training()
    from stepsight.training.run import train

    return train(path)


def open_model(name: str, reward: str) -> Opened:
    """Load a model, and say by which reward model the judge `reward` judges its answers: pico's own if none is named.

    Raises:
        ModelError: it cannot be used.
    """
    from pathlib import Path

    from stepsight.assembly import ModelChoice, load_model
    from stepsight.cli.study_judges import build_study_judge
    from stepsight.model_folders import PICO, read_card, resolve_model
    from stepsight.study.opening import Opened

    shipped = Path(resolve_model(PICO))
    model = load_model(ModelChoice(name, reward=reward or str(shipped / read_card(shipped).reward)))
    return Opened(model.engine, lambda judge: build_study_judge(judge, model), model.aclose)
