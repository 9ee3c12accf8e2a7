"""Several runs beside published rows: the six benchmarks, the paper's reasoning subsets, MMStar by skill.

No score stands without its interval, and below every table stands what its rows are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stepsight.evaluation.bench.published import (
    ANCHORS,
    FULL,
    PAPER_CONDITIONS,
    SIX,
    SIZES,
    SKILL_ROWS,
    SKILLS,
    SUBSET_ROWS,
    SUBSETS,
    PublishedRow,
)
from stepsight.evaluation.bench.results import BenchResult
from stepsight.evaluation.bench.subsets import mean_of_measures
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.tables import ALL_SPLITS
from stepsight.evaluation.suites.predictions import Which
from stepsight.evaluation.suites.scores import overall
from stepsight.intervals import wilson_bounds
from stepsight.records import Record
from stepsight.reports.bench.figures import comparable, comparable_subset, conditions, percent, what_became

Runs = Mapping[str, Mapping[str, BenchResult]]
"""Results by the name of their run, and by data set."""

_TEXTS: Sequence[tuple[Which, str]] = (("whole", "whole answer"), ("conclusion", "CONCLUSION"))
_UNSCORED = (
    "without a grader what no rule can read counts as wrong, as in VLMEvalKit's exact_matching; with one it is left out"
)


class Grid(Record):
    """A table as text. `published` says of each row whether it is somebody else's; `notes` stand below."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    published: tuple[bool, ...]
    notes: tuple[str, ...]


def grids(runs: Runs) -> list[Grid]:
    """All tables that these runs have something for."""
    found = [*_other(runs), *_six(runs), *_subsets(runs), *_skills(runs)]
    if any(grid.published[-1] for grid in found):
        anchors = tuple(ANCHORS)
        found.append(
            Grid(
                title="Anchors",
                heads=("bar", "score", "of"),
                rows=anchors,
                published=(True,) * len(anchors),
                notes=("published without intervals, on the sets named; not all of them are the six above",),
            )
        )
    return found


def markdown(grid: Grid) -> str:
    """A table in Markdown; rows of others in italics."""
    lines = [f"### {grid.title}", "", _line(grid.heads), f"|{'---|' * len(grid.heads)}"]
    for row, published in zip(grid.rows, grid.published, strict=True):
        name = f"*{row[0]}*" if published else row[0]
        lines.append(_line((name, *row[1:])))
    return "\n".join([*lines, "", *(f"- {note}" for note in grid.notes), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _six(runs: Runs) -> Iterator[Grid]:
    def measures(results: Mapping[str, BenchResult], which: Which) -> list[Measure | None]:
        return [_overall(results.get(dataset), which) for dataset in SIX.values()]

    yield from _beside(
        "The six benchmarks of the paper, % (95 % interval)",
        tuple(SIX),
        _having(runs, SIX.values()),
        measures,
        FULL,
        SIZES,
    )


def _subsets(runs: Runs) -> Iterator[Grid]:
    def measures(results: Mapping[str, BenchResult], which: Which) -> list[Measure | None]:
        found: list[Measure | None] = []
        for name, dataset in SIX.items():
            result = results.get(dataset)
            part = name in SUBSETS and result is not None
            found.append(comparable_subset(result, which) if part and result is not None else _overall(result, which))
        return found

    heads = tuple(SUBSETS.get(name, name) for name in SIX)
    sizes = {name: size for name, size in SIZES.items() if name not in SUBSETS} | {"MMStar-R": 1000}
    yield from _beside(
        "The paper's reasoning subsets, % (95 % interval)",
        heads,
        _having(runs, SIX.values()),
        measures,
        SUBSET_ROWS,
        sizes,
    )


def _skills(runs: Runs) -> Iterator[Grid]:
    def measures(results: Mapping[str, BenchResult], which: Which) -> list[Measure | None]:
        groups = comparable(results["MMStar"], which)
        found = {group.name: group.measure for group in groups if group.kind == "category"}
        return [found.get(skill) for skill in SKILLS]

    heads = tuple(SKILLS.values())
    chosen = _having(runs, ("MMStar",))
    yield from _beside(
        "MMStar by skill, % (95 % interval)", heads, chosen, measures, SKILL_ROWS, dict.fromkeys(heads, 250), 1500
    )


def _beside(
    title: str,
    heads: tuple[str, ...],
    runs: Runs,
    measures: Any,
    published: Sequence[PublishedRow],
    sizes: Mapping[str, int],
    all_of: int = 0,
) -> Iterator[Grid]:
    """Our rows, then the published ones; the last column is the mean, which needs all others."""
    if not runs:
        return
    rows = [
        (f"{name}, {said}", *map(percent, found), percent(mean_of_measures(found)))
        for name, results in runs.items()
        for which, said in _TEXTS
        if any(found := measures(results, which))
    ]
    others = [
        (
            row.name,
            *(_published(value, sizes.get(head, 0)) for head, value in zip(heads, row.values, strict=False)),
            _published(row.values[-1], all_of),
        )
        for row in published
    ]
    yield Grid(
        title=title,
        heads=("system", *heads, "mean"),
        rows=(*rows, *others),
        published=(False,) * len(rows) + (True,) * len(others),
        notes=(*_notes(runs, set(SIX.values())), PAPER_CONDITIONS),
    )


def _other(runs: Runs) -> Iterator[Grid]:
    """Benchmarks that are none of the six, each by its own name."""
    names = list(dict.fromkeys(name for results in runs.values() for name in results if name not in SIX.values()))
    chosen = {run: {name: one for name, one in results.items() if name in names} for run, results in runs.items()}
    rows = [
        (f"{run}, {said}", *(percent(_overall(results.get(name), which)) for name in names))
        for run, results in chosen.items()
        for which, said in _TEXTS
        if results
    ]
    if names:
        yield Grid(
            title="Other benchmarks, % (95 % interval)",
            heads=("system", *names),
            rows=tuple(rows),
            published=(False,) * len(rows),
            notes=tuple(_notes(chosen, set(names))),
        )


def _overall(result: BenchResult | None, which: Which) -> Measure | None:
    groups = () if result is None else comparable(result, which)
    of_all = [group for group in groups if group.kind == "overall" and group.split == ALL_SPLITS]
    return overall(of_all or groups) if groups else None


def _published(value: float, n: int) -> str:
    if not n:
        return f"{value:.1f}"
    low, high = wilson_bounds(round(n * value / 100), n)
    return f"{value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _having(runs: Runs, datasets: Any) -> Runs:
    wanted = set(datasets)
    return {name: results for name, results in runs.items() if wanted & results.keys()}


def _notes(runs: Runs, datasets: set[str]) -> Iterator[str]:
    yield _UNSCORED
    for run, results in runs.items():
        for name, result in results.items():
            if name in datasets:
                yield f"{run}, {name}: {'; '.join((*conditions(result), *what_became(result)))}"
