"""`stepsight bench compare`: which settings of two runs differ, by how much their scores do, and on which questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import JsonOption, check_writable

if TYPE_CHECKING:
    from stepsight.records import Trace


def compare_command(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of one benchmark in it.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page with the questions that changed sides, and their pictures."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs question by question: settings that differ, paired differences, questions that changed sides."""
    from rich.console import Console

    from stepsight.errors import InputError
    from stepsight.evaluation.bench import find_results, read_result
    from stepsight.evaluation.bench.comparing import compare_results
    from stepsight.evaluation.bench.results import RESULT
    from stepsight.files import whole_file
    from stepsight.reports.bench.comparison import Sides, comparison_lines, comparison_page

    if html is not None:
        check_writable(html)
    ones, others = find_results(first), find_results(second)
    shared = [name for name in ones if name in others]
    if not shared:
        raise InputError(f"{first} and {second} share no benchmark", hint="compare runs of the same benchmarks")
    comparisons = {
        name: compare_results(read_result(ones[name] / RESULT), read_result(others[name] / RESULT)) for name in shared
    }
    if html is not None:
        found = [
            Sides(comparison, traces_in(ones[name]), traces_in(others[name]))
            for name, comparison in comparisons.items()
        ]
        with whole_file(html) as stream:
            stream.write(comparison_page(found, str(first), str(second)).encode())
    if as_json:
        dumped = [comparison.model_dump(mode="json") for comparison in comparisons.values()]
        typer.echo(json.dumps({"comparisons": dumped}))
        return
    console = Console(highlight=False)
    for comparison in comparisons.values():
        for line in comparison_lines(comparison, str(first), str(second)):
            console.print(line, markup=False, soft_wrap=True)
    if html is not None:
        console.print(f"wrote {html}", markup=False, soft_wrap=True)


def traces_in(folder: Path) -> dict[str, Trace]:
    """The traces in the folder of a result, by index; none where only predictions are known."""
    from stepsight.tracefiles import TRACES, sift_traces

    if not (folder / TRACES).is_file():
        return {}
    return {str(trace.question.meta.get("index")): trace for trace in sift_traces(folder / TRACES).rows}
