"""`stepsight bench score`: stored answers scored again, ours or a file of predictions in VLMEvalKit's form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.bench.options import (
    RootOption,
    ScoringChoice,
    choose_scoring,
    make_grader,
    score_all,
    show_results,
)
from stepsight.cli.options import JsonOption, check_folder
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from stepsight.evaluation.bench.results import BenchResult


@takes(scoring=choose_scoring)
def score_command(
    what: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, or a file of predictions <model>_<data set>.tsv or .xlsx.", show_default=False
        ),
    ],
    root: RootOption = None,
    bench: Annotated[
        str,
        typer.Option(
            "--bench", help="The data set of a file of predictions, if its name does not say.", show_default=False
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the result. Default: where the answers are; of a file of predictions, none is kept.",
            show_default=False,
        ),
    ] = None,
    *,
    scoring: ScoringChoice,
    as_json: JsonOption = False,
) -> None:
    """Score stored answers again: by other rules, or with a grader."""
    from rich.console import Console

    from stepsight.evaluation.bench.results import write_result
    from stepsight.evaluation.bench.stored import read_stored, stored_in

    if out is not None:
        check_folder(out)
    errors = Console(stderr=True, highlight=False)
    answered = [read_stored(place, root=root, bench=bench) for place in stored_in(what)]
    grader = make_grader(scoring, out or (what if what.is_dir() else what.parent))
    results: list[BenchResult] = []
    for one in answered:
        for notice in one.suite.notices:
            errors.print(f"note: {notice}", style="yellow", markup=False, soft_wrap=True)
        result = score_all(one.suite, one.predictions, one.card, scoring, grader, errors, answers=one.answers)
        results.append(result)
        if out is not None:
            write_result(out if len(answered) == 1 else out / one.suite.name, result)
        elif one.folder is not None:
            write_result(one.folder, result)
    show_results(results, as_json)
