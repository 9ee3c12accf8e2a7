"""`stepsight narrow`: runs of smaller widths out of one wide run, without generating."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepsight.cli.model_options import choose_model
from stepsight.cli.options import JsonOption, check_folder
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from stepsight.assembly import ModelChoice


@takes(choice=choose_model)
def narrow_command(
    context: typer.Context,
    traces: Annotated[
        Path, typer.Argument(help="Traces of `vote` or `best-of-n`, or the folder that `stepsight eval --out` wrote.")
    ],
    width: Annotated[str, typer.Option("--width", "-w", help="How many answers, such as 4; or several: 1,2,4.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a folder of traces for each width.")],
    search: Annotated[
        str | None,
        typer.Option("--search", help="vote or best-of-n; without it, as the traces, or what --judge is for."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", "-j", help="Who decides; without it, who decided in the traces.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Traces judged at a time.", min=1)] = 8,
    *,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Derive from a wide run what narrower ones would have answered: the first N answers of each question."""
    import asyncio
    from functools import partial

    from rich.console import Console

    from stepsight.cli.deciding import OpenJudge, open_judge, remade, surveyed
    from stepsight.evaluation.narrowing import narrowed
    from stepsight.reports.scores import interval
    from stepsight.search import is_judged
    from stepsight.tracefiles import TRACES, trace_file

    # 1. Everything that can be wrong without a model.
    widths = _widths(width)
    check_folder(out)
    source = trace_file(traces)
    errors = Console(stderr=True, highlight=False)
    strategy, judge = _plan(source, widths, search, judge)
    found = surveyed(source, None, errors)

    # 2. Who decides.
    opened: OpenJudge | None = None
    if any(is_judged(strategy, one, judge or "") for one in widths):
        assert judge is not None
        opened = open_judge(context, choice, judge, errors)

    # 3. One file for each width.
    async def make_all() -> dict[int, Path]:
        files: dict[int, Path] = {}
        try:
            for one in widths:
                asked = opened.judge if opened is not None and is_judged(strategy, one, judge or "") else None
                name = f"{strategy}-{one}" if asked is None else f"{strategy}-{one}-{asked.name}"
                files[one] = out / name / TRACES
                identity = {"verb": "narrow", "search": strategy, "width": one}
                await remade(
                    source,
                    files[one],
                    partial(narrowed, width=one, strategy=strategy, judge=asked),
                    identity=identity | (opened.identity if asked is not None and opened is not None else {}),
                    total=found.traces,
                    limit=None,
                    concurrency=concurrency,
                    errors=errors,
                )
        finally:
            if opened is not None and opened.model is not None:
                await opened.model.aclose()
        return files

    files = asyncio.run(make_all())

    # 4. What came of it.
    results = [_result(one, path) for one, path in files.items()]
    if as_json:
        shown = [{**one, "accuracy": one["accuracy"].model_dump()} for one in results]
        typer.echo(json.dumps({"derived": shown, "set_aside": len(found.faults)}))
        return
    for one in results:
        right = f"accuracy {interval(one['accuracy'])}, " if one["accuracy"].n else ""
        line = f"width {one['width']}: {one['traces']} traces derived, {right}{one['tokens']:,.0f} tokens per question"
        Console(highlight=False).print(f"{line}: {one['out']}", markup=False, soft_wrap=True)


def _widths(text: str) -> list[int]:
    from stepsight.errors import InputError

    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"{text!r} is no width", hint="give a number such as 4, or several: 1,2,4")
    return sorted({int(word) for word in words})


def _plan(source: Path, widths: list[int], search: str | None, judge: str | None) -> tuple[str, str | None]:
    """Strategy and judge of the narrower runs, with every trace checked before anything is made.

    Raises:
        InputError: some width cannot be derived exactly from some trace, or a judge is missing.
    """
    from stepsight.errors import InputError
    from stepsight.evaluation.narrowing import why_not
    from stepsight.records import Trace
    from stepsight.search import WHOLE, is_judged
    from stepsight.tracefiles import scan_traces

    first: Trace | None = None
    for trace in scan_traces(source):
        if not isinstance(trace, Trace):
            continue
        first = first or trace
        for width in widths:
            if why := why_not(trace, width):
                raise InputError(
                    f"width {width} cannot be derived from {source}: {why}",
                    hint=f"run it: stepsight eval --search {trace.strategy} --width {width}",
                )
    if first is None:
        return search or WHOLE[0], judge
    strategy = search or ("best-of-n" if judge is not None else first.strategy)
    if strategy not in WHOLE:
        raise InputError(f"{strategy} does not draw whole answers", hint=f"derive one of {', '.join(WHOLE)}")
    judge = judge or first.judge
    if judge is None and any(is_judged(strategy, width, "") for width in widths):
        raise InputError(f"the traces of {source} name no judge for {strategy}", hint="name one with --judge")
    return strategy, judge


def _result(width: int, path: Path) -> dict[str, Any]:
    from stepsight.evaluation.report import score
    from stepsight.evaluation.statistics import share_of
    from stepsight.tracefiles import sift_traces

    rows = [score(trace.question, trace) for trace in sift_traces(path).rows]
    tokens = sum(row.usage.kept + row.usage.discarded + row.usage.judge for row in rows) / len(rows)
    share = share_of([row.correct for row in rows])
    return {"width": width, "traces": len(rows), "accuracy": share, "tokens": tokens, "out": str(path.parent)}
