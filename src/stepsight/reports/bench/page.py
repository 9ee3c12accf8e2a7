"""A run's report as one self-contained page; several runs stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from stepsight.data.page_parts import STYLE as PAGE_STYLE
from stepsight.data.page_parts import table
from stepsight.evaluation.bench.comparing import settings_on
from stepsight.evaluation.bench.results import BenchResult
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.suites.predictions import Which
from stepsight.pages import whole_page
from stepsight.reports.bench.figures import comparable, comparable_subset, conditions, percent, what_became
from stepsight.reports.bench.plot import STYLE, Series, plot
from stepsight.reports.bench.tables import Runs, grids

_TEXTS: tuple[tuple[Which, str], ...] = (("whole", "whole answer"), ("conclusion", "CONCLUSION"))


def page_of_runs(runs: Runs) -> str:
    """The page: for each benchmark scores by group with intervals, what became of answers, and the card; then tables
    beside published rows."""
    title = f"Benchmarks: {', '.join(runs)}"
    return whole_page(title, "".join(_body(title, runs)), style=PAGE_STYLE + STYLE)


def _body(title: str, runs: Runs) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1><p class=soft>All scores in percent, with 95 % intervals.</p>"
    for dataset in dict.fromkeys(name for results in runs.values() for name in results):
        yield from _benchmark(dataset, {run: results[dataset] for run, results in runs.items() if dataset in results})
    for grid in grids(runs):
        yield f"<h2>{escape(grid.title)}</h2>"
        rows = [
            (f"{row[0]} (published)" if published else row[0], *row[1:])
            for row, published in zip(grid.rows, grid.published, strict=True)
        ]
        yield table(grid.heads, rows)
        yield f"<ul class=soft>{''.join(f'<li>{escape(note)}</li>' for note in grid.notes)}</ul>"


def _benchmark(dataset: str, results: Mapping[str, BenchResult]) -> Iterator[str]:
    yield f"<h2>{escape(dataset)}</h2>"
    series = [
        Series(f"{run}, {said}", found)
        for run, result in results.items()
        for which, said in _TEXTS
        if (found := _measures(result, which))
    ]
    yield plot(dataset, series)
    if series:
        names = list(dict.fromkeys(name for one in series for name in one.measures))
        rows = [(name, *(percent(one.measures.get(name)) for one in series)) for name in names]
        yield table(("", *(one.name for one in series)), rows)
    for run, result in results.items():
        for notice in result.notices:
            yield f"<p class=bad>{escape(run)}: {escape(notice)}</p>"
        facts = "; ".join((*conditions(result), *what_became(result), *_cost(result)))
        yield f"<p class=soft>{escape(run)}: {escape(facts)}</p>"
    cards = {run: settings_on(result.card) for run, result in results.items()}
    names = list(dict.fromkeys(name for card in cards.values() for name in card))
    differ = [name for name in names if len({str(card.get(name)) for card in cards.values()}) > 1]
    if differ:
        yield "<p>Settings that differ</p>" + table(("", *cards), [_setting(name, cards) for name in differ])
    same = [name for name in names if name not in differ]
    yield f"<details><summary>Settings{' that are alike' if differ else ''}</summary>"
    yield table(("", *cards), [_setting(name, cards) for name in same]) + "</details>"


def _setting(name: str, cards: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    return (name, *("none" if card.get(name) is None else str(card[name]) for card in cards.values()))


def _measures(result: BenchResult, which: Which) -> dict[str, Measure]:
    """Scores by the name they have on the page, the overall ones first."""
    groups = comparable(result, which)
    several = len({group.split for group in groups}) > 1
    found = {}
    for group in groups:
        name = group.name if group.metric == "acc" else f"{group.name}, {group.metric}"
        found[f"{group.split}: {name}" if several else name] = group.measure
    subset = comparable_subset(result, which)
    if subset is not None:
        found["reasoning subset"] = subset
    return found


def _cost(result: BenchResult) -> Iterator[str]:
    if result.answers is not None and result.answers.usage.mean is not None:
        mean = result.answers.usage.mean
        tokens = ", ".join(f"{count:,.0f} {name}" for name, count in mean.items() if count >= 0.5)
        yield f"tokens per question: {tokens}"
        shown = result.answers.format_valid
        if shown.value is not None:
            yield f"format valid in {shown.value:.1%} of {shown.n}"
