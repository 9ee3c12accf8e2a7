"""A benchmark's result in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from stepsight.evaluation.bench.results import BenchResult
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.tables import Group
from stepsight.evaluation.suites.scores import Result, Scores, overall
from stepsight.reports.bench.figures import conditions, percent, what_became
from stepsight.reports.bench.tables import Grid


def result_lines(result: BenchResult) -> Iterator[RenderableType]:
    """A table of every group, both texts side by side, and what the scores depend on."""
    if result.scores is not None:
        yield _table(result, result.scores)
    else:
        yield Text(f"{result.dataset}: {result.asked} questions asked; its answers are not public", style="bold")
    yield Text("; ".join((*conditions(result), *what_became(result))), style="dim")
    yield Text()


def grid_lines(grid: Grid) -> Iterator[RenderableType]:
    """A table of several runs, rows of others in italics, with its notes."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=grid.title, title_justify="left")
    for place, head in enumerate(grid.heads):
        table.add_column(head, justify="right" if place else "left")
    for row, published in zip(grid.rows, grid.published, strict=True):
        table.add_row(*row, style="italic dim" if published else "")
    yield table
    for note in grid.notes:
        yield Text(f"- {note}", style="dim")
    yield Text()


def _table(result: BenchResult, scores: Scores) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"{result.dataset}, {result.kind}, % (95 % interval)")
    for text in ("whole answer", "CONCLUSION"):
        table.add_column(text, justify="right")
        table.add_column("n", justify="right")
    whole, conclusion = scores.whole, scores.conclusion
    _row(table, "Overall", whole.overall, None if conclusion is None else conclusion.overall, "bold")
    exact = [None if one is None or one.exact is None else overall(one.exact) for one in (whole, conclusion)]
    if exact[0] is not None:
        _row(table, "Overall, unscored as wrong", exact[0], exact[1], "")
    table.add_section()
    subsets = [_by_name(result.subsets.get(which, ())) for which in ("whole", "conclusion")]
    for key, measure in subsets[0].items():
        _row(table, key[2], measure, subsets[1].get(key), "")
    first, second = _by_name(whole.groups), _by_name(() if conclusion is None else conclusion.groups)
    for key, measure in first.items():
        if measure != whole.overall or key[1] != "overall":
            _row(table, f"  {_called(key, whole)}", measure, second.get(key), "dim")
    return table


def _row(table: Table, name: str, whole: Measure, conclusion: Measure | None, style: str) -> None:
    n = "" if conclusion is None else str(conclusion.n)
    table.add_row(name, percent(whole), str(whole.n), percent(conclusion), n, style=style)


def _by_name(groups: tuple[Group, ...]) -> dict[tuple[str, str, str, str], Measure]:
    return {(group.split, group.kind, group.name, group.metric): group.measure for group in groups}


def _called(key: tuple[str, str, str, str], result: Result) -> str:
    split, _, name, metric = key
    several = len({group.split for group in result.groups}) > 1
    return f"{split}: {name}" * several + name * (not several) + (f", {metric}" if metric != "acc" else "")
