"""`stepsight show`: what a search did, as a tree in the terminal or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.options import check_writable

if TYPE_CHECKING:
    from stepsight.records import Trace


def show_command(
    traces: Annotated[
        Path, typer.Argument(help="A trace (`ask --trace`), or many, one per line (`eval --out`).", show_default=False)
    ],
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Id of the question; the first trace without it.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page instead.")] = None,
) -> None:
    """Show what a search tried, chose and dropped."""
    from rich.console import Console

    from stepsight.files import whole_file
    from stepsight.reports.terminal import cost_line, print_answer, print_lines
    from stepsight.reports.tree import tree_of
    from stepsight.stages import conclusion

    if html is not None:
        check_writable(html)
    trace = find_trace(traces, question)
    console = Console(highlight=False)
    if html is not None:
        from stepsight.reports.page import page_of

        with whole_file(html) as stream:
            stream.write(page_of(trace).encode())
        console.print(f"wrote {html}", markup=False, soft_wrap=True)
        return
    console.print(tree_of(trace), soft_wrap=not console.is_terminal)
    print_answer(console, conclusion(trace.text))
    print_lines(console, [cost_line(trace.usage, trace.seconds)])


def find_trace(path: Path, question: str | None) -> Trace:
    """The trace of a question in a file of traces, or the first.

    Raises:
        InputError: there is no such file, or no such question in it.
        RecordError: the file holds no traces.
    """
    from stepsight.errors import InputError, RecordError
    from stepsight.tracefiles import sift_traces, trace_file

    path = trace_file(path, hint="make one with `stepsight ask --trace FILE`")
    sifted = sift_traces(path)
    if not sifted.rows:
        raise RecordError(
            f"{path} holds no trace: {sifted.faults[0] if sifted.faults else 'it is empty'}",
            hint="give what `stepsight ask --trace` or `stepsight eval --out` wrote",
        )
    if question is None:
        return sifted.rows[0]
    for trace in sifted.rows:
        if trace.question.id == question:
            return trace
    raise InputError(
        f"{path} holds no trace of the question {question!r}", hint=f"it begins with {sifted.rows[0].question.id}"
    )
