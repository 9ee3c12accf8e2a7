"""A judge's report card as a table in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepsight.evaluation.card import JudgeCard, StageCard
from stepsight.evaluation.statistics import Span
from stepsight.reports.scores import interval


def card_table(card: JudgeCard) -> RenderableType:
    """One column for each stage, one row for each figure; below, in words, what to do."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"judge {card.judge}, {card.traces} searches")
    for stage in card.stages:
        table.add_column(stage, justify="right")
    stages = list(card.stages.values())
    rows = {
        "decisions": [f"{one.decisions:,}" for one in stages],
        "true before false, of pairs": [interval(one.pairs) for one in stages],
        "  where both orders agree": [interval(one.firm) for one in stages],
        "orders agree": [interval(one.consistent) for one in stages],
        "unreadable": [interval(one.unreadable) for one in stages],
        "AUROC of what it holds of the stage": [_span(one.auroc) for one in stages],
        "  of its scores, of all so far": [_span(one.auroc_so_far) for one in stages],
        "picks a true one, where there are both": [interval(one.picks) for one in stages],
        "  chance would": [_percent(one.by_chance) for one in stages],
        "  the likeliest candidate would": [_percent(one.likeliest) for one in stages],
        "longer before shorter, equally true": [interval(one.longer) for one in stages],
        "tokens, requests per decision": [f"{one.tokens:,.0f}, {one.calls:.1f}" for one in stages],
    }
    for name, cells in rows.items():
        if any(cell != "none" for cell in cells):
            table.add_row(name, *cells, style="dim" if name.startswith("  ") else "")
    return Group(table, Text(), *(_advice(stage, one) for stage, one in card.stages.items()))


def _advice(stage: str, one: StageCard) -> Text:
    return Text.assemble((f"{stage}: ", "bold cyan"), one.advice)


def _span(span: Span) -> str:
    if span.value is None or span.low is None or span.high is None:
        return "none"
    return f"{span.value:.3f} ({span.low:.3f} to {span.high:.3f})"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
