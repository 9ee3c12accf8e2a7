"""Curves of training runs, side by side: loss and token accuracy by stage, answers, training loss, learning rate."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsight.errors import InputError, MissingExtraError
from stepsight.files import whole_file
from stepsight.training.watching.watched import PARTS, WATCH, Part, Watched, read_watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG = "log.jsonl"
MOST_RUNS = 8
"""So many runs have room side by side."""
_COLOURS = dict(zip(PARTS, ("C0", "C1", "C2", "C3", "0.45", "C5"), strict=True))
_DASHED = (Part.TAGS, Part.OUTSIDE)


@dataclass(frozen=True)
class Run:
    """What is known of a run: its looks, and the lines of its log that hold a training loss."""

    name: str
    watched: list[Watched]
    logged: list[dict[str, float]]


def check_curves() -> None:
    """Make sure, before any work, that curves can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train")


def read_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        InputError: it was not watched.
    """
    if not (folder / WATCH).is_file():
        raise InputError(f"{folder} holds no {WATCH}", hint="give the recipe `watching`, and the folder of its run")
    return Run(folder.resolve().name, read_watched(folder), list(_logged(folder / LOG)))


def _logged(path: Path) -> Iterator[dict[str, float]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"step", "loss"} <= row.keys():
            yield row


def draw_run(folder: Path) -> list[Path]:
    """Draw the curves of a run into its folder; their paths."""
    return draw_curves([read_run(folder)], folder)


def draw_curves(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write `curves.png` and `curves.svg`, each run a column and each panel a row of one scale; their paths.

    A single run's panels stand in a square.

    Raises:
        InputError: there are more than `MOST_RUNS` runs, or none.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not 1 <= len(runs) <= MOST_RUNS:
        raise InputError(f"{len(runs)} runs cannot be drawn side by side", hint=f"give 1 to {MOST_RUNS}")
    with rc_context({"svg.hashsalt": "stepsight"}):
        alone = len(runs) == 1
        figure = Figure(figsize=(11, 7.5) if alone else (4.5 * len(runs), 12), layout="constrained")
        if alone:
            grid = figure.subplots(2, 2, sharex=True).reshape(4, 1)
        else:
            grid = figure.subplots(4, len(runs), sharex="col", sharey="row", squeeze=False)
        last = 2 if alone else 3
        for column, run in enumerate(runs):
            for row, (title, draw) in enumerate(_PANELS):
                axes = grid[row, column]
                draw(axes, run)
                axes.grid(alpha=0.3)
                if alone or column == 0:
                    axes.set_ylabel(title)
                if row >= last:
                    axes.set_xlabel("step")
            grid[0, column].set_title(run.name) if not alone else figure.suptitle(run.name)
        paths = [folder / f"curves.{kind}" for kind in ("png", "svg")]
        for path in paths:
            made = io.BytesIO()
            figure.savefig(
                made, format=path.suffix[1:], dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None
            )
            with whole_file(path) as stream:
                stream.write(made.getvalue())
    return paths


def _losses(axes: Axes, run: Run) -> None:
    _by_part(axes, run, "loss")
    axes.set_yscale("log")


def _accuracies(axes: Axes, run: Run) -> None:
    _by_part(axes, run, "token_accuracy")


def _by_part(axes: Axes, run: Run, what: str) -> None:
    measured = [(one.step, getattr(one.losses, what)) for one in run.watched if one.losses is not None]
    for part in PARTS:
        points = [(step, values[part]) for step, values in measured if part in values]
        if points:
            style: dict[str, Any] = {"linestyle": "--" if part in _DASHED else "-", "marker": "o", "markersize": 3}
            axes.plot(*zip(*points, strict=True), color=_COLOURS[part], label=str(part), **style)
    _legend(axes)


def _answers(axes: Axes, run: Run) -> None:
    for name, label, colour in (
        ("format_valid", "format valid", "0.45"),
        ("accuracy", "accuracy", "C0"),
        ("accuracy_any_format", "accuracy, any format", "C1"),
    ):
        shares = [(one.step, getattr(one.answers, name)) for one in run.watched if one.answers is not None]
        known = [(step, share.value, share.low, share.high) for step, share in shares if share.n]
        if known:
            steps, values, lows, highs = zip(*known, strict=True)
            axes.plot(steps, values, marker="o", markersize=3, color=colour, label=label)
            axes.fill_between(steps, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set_ylim(-0.02, 1.02)
    _legend(axes)


def _training(axes: Axes, run: Run) -> None:
    axes.plot([row["step"] for row in run.logged], [row["loss"] for row in run.logged], color="C0", label="loss")
    rates = [(row["step"], row["learning_rate"]) for row in run.logged if "learning_rate" in row]
    if rates:
        beside = axes.twinx()
        beside.plot(*zip(*rates, strict=True), color="0.6", linewidth=1, label="learning rate")
        beside.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        beside.set_ylabel("learning rate", color="0.45")
        beside.set_ylim(bottom=0)
    axes.set_yscale("log")
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small")


_PANELS: tuple[tuple[str, Callable[[Axes, Run], None]], ...] = (
    ("held-out loss, nats a token", _losses),
    ("token accuracy", _accuracies),
    ("answers, 95 % interval", _answers),
    ("training loss", _training),
)
