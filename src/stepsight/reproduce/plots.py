"""A comparison as a plot: every arm's accuracy on each set of questions, and every search's."""

from __future__ import annotations

from pathlib import Path

from stepsight.evaluation.statistics import Span
from stepsight.reproduce.figures import ALL, ReproduceResult


def plot_arms(result: ReproduceResult, path: Path) -> Path:
    """Draw `path`, an SVG or PNG, and give it back. Needs `study.plots.check_plots`.

    One panel for each set and one for the searches; points with their 95 % intervals, and a small mark for each seed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[tuple[str, Span, tuple[float, ...]]]]] = []
    for one in result.sets:
        group = one.group(ALL)
        arms = group.arms if group else ()
        panels.append((one.name, [(arm.name, arm.accuracy, arm.by_seed) for arm in arms]))
    if result.searches:
        panels.append(("searches", [(arm.name, arm.accuracy, ()) for arm in result.searches.study.arms]))
    with rc_context({"svg.hashsalt": "stepsight"}):
        figure = Figure(figsize=(4.5 * len(panels), 4), layout="constrained")
        for axes, (name, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for place, (_, span, seeds) in enumerate(rows):
                if span.value is None or span.low is None or span.high is None:
                    continue
                bars = [[span.value - span.low], [span.high - span.value]]
                axes.errorbar([span.value], [place], xerr=bars, marker="o", capsize=3, color="C0")
                axes.plot(seeds, [place + 0.2] * len(seeds), linestyle="", marker="|", color="C1")
            axes.set_yticks(range(len(rows)), [row[0] for row in rows])
            axes.invert_yaxis()
            axes.set_title(name)
            axes.set_xlabel("accuracy, 95 % interval; small marks: each seed")
            axes.grid(axis="x", alpha=0.3)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
