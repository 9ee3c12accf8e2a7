"""Scores with their intervals as a plot: a row for each group, a mark for each run and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from stepsight.evaluation.scoring.measures import Measure
from stepsight.reports.bench.figures import percent

COLOURS = ("#0b6496", "#b3362c", "#17713f", "#8a5a00", "#6b3fa0", "#00747a", "#a3386c", "#555b66")
"""Of series, in their order; a ninth takes the first again."""

STYLE = "".join(
    f".c{place} line, line.c{place} {{ stroke: {colour}; stroke-width: 2; }} "
    f"circle.c{place} {{ fill: {colour}; }} .key.c{place} {{ color: {colour}; }}\n"
    for place, colour in enumerate(COLOURS)
) + (
    ".plot { width: 100%; height: auto; } .plot text { font-size: 12px; fill: var(--ink); } "
    ".plot text.tick { font-size: 10px; fill: var(--soft); } td.differs { font-weight: bold; }\n"
)

_LEFT, _WIDTH, _STEP, _GAP = 220, 900, 11, 9


@dataclass(frozen=True)
class Series:
    """One run's scores of one text, by group."""

    name: str
    measures: dict[str, Measure]


def plot(title: str, series: Sequence[Series]) -> str:
    """The plot as SVG with a key above it; groups in the order in which they first occur. Empty without any score."""
    names = list(dict.fromkeys(name for one in series for name in one.measures))
    drawn: list[str] = []
    top = 4.0
    for name in names:
        height = _STEP * len(series)
        drawn.append(f'<text x="{_LEFT - 8}" y="{top + height / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for place, one in enumerate(series):
            measure = one.measures.get(name)
            if measure is not None:
                drawn.append(_mark(measure, top + _STEP * (place + 0.5), place % len(COLOURS), f"{one.name}, {name}"))
        top += height + _GAP
    if not names:
        return ""
    ticks = "".join(
        f'<line x1="{_x(tick)}" x2="{_x(tick)}" y1="0" y2="{top:.1f}"/>'
        f'<text class=tick x="{_x(tick)}" y="{top + 12:.1f}" text-anchor="middle">{round(100 * tick)}</text>'
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    key = " ".join(
        f'<span class="key c{place % len(COLOURS)}">&#9679; {escape(one.name)}</span>'
        for place, one in enumerate(series)
    )
    return (
        f'<figure><figcaption>{key}</figcaption><svg class=plot viewBox="0 0 {_WIDTH} {top + 16:.0f}" role="img" '
        f'aria-label="{escape(title)}">{ticks}{"".join(drawn)}</svg></figure>'
    )


def _mark(measure: Measure, y: float, colour: int, name: str) -> str:
    if measure.value is None or measure.low is None or measure.high is None:
        return ""
    return (
        f"<g class=c{colour}><title>{escape(name)}: {percent(measure)}</title>"
        f'<line class=c{colour} x1="{_x(measure.low)}" x2="{_x(measure.high)}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<circle class=c{colour} cx="{_x(measure.value)}" cy="{y:.1f}" r="3.5"/></g>'
    )


def _x(share: float) -> str:
    return f"{_LEFT + share * (_WIDTH - _LEFT - 20):.1f}"
