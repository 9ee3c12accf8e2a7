"""A study as plots: accuracy against tokens and against seconds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stepsight.errors import MissingExtraError
from stepsight.study.results import ArmResult, StudyResult


def check_plots() -> None:
    """Make sure, before any work, that plots can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "study")


def plot(result: StudyResult, folder: Path) -> list[Path]:
    """Write `accuracy.png` and `accuracy.svg` into a folder; their paths. Needs `check_plots`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "stepsight"}):
        figure = Figure(figsize=(11, 5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        families: dict[str, list[ArmResult]] = {}
        for arm in result.arms:
            families.setdefault(_family(arm.name), []).append(arm)
        for place, (family, arms) in enumerate(families.items()):
            colour = f"C{place}"
            _curve(left, family, colour, [(arm.tokens, arm) for arm in arms])
            _curve(right, family, colour, [(arm.seconds, arm) for arm in arms if arm.seconds is not None])
        left.set_xlabel("tokens per question, generated and judge's")
        right.set_xlabel("seconds per question, beside others")
        left.set_ylabel("accuracy, 95 % interval")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.grid(alpha=0.3)
        left.legend(fontsize="small")
        paths = [folder / f"accuracy.{kind}" for kind in ("png", "svg")]
        for path in paths:
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def _family(name: str) -> str:
    """What a curve is of: the arms that differ in numbers alone."""
    return "-".join(part for part in name.split("-") if not part.isdigit() and part not in ("tokens", "survivors"))


def _curve(axes: Any, family: str, colour: str, points: list[tuple[float, ArmResult]]) -> None:
    known = sorted(
        (place, arm.accuracy.value, arm.accuracy.low, arm.accuracy.high)
        for place, arm in points
        if arm.accuracy.value is not None and arm.accuracy.low is not None and arm.accuracy.high is not None
    )
    if not known:
        return
    places, values, lows, highs = zip(*known, strict=True)
    below = [value - low for value, low in zip(values, lows, strict=True)]
    above = [high - value for value, high in zip(values, highs, strict=True)]
    axes.errorbar(places, values, yerr=[below, above], marker="o", capsize=2, label=family, color=colour)
