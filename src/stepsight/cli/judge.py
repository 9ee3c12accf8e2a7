"""`stepsight judge`, `rejudge` and `calibrate`: how good a judge is, on decisions of finished searches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.model_options import choose_model
from stepsight.cli.options import JsonOption, check_writable
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from rich.console import Console

    from stepsight.assembly import ModelChoice
    from stepsight.records import Trace

TracesArgument = Annotated[
    Path, typer.Argument(help="Traces (JSON lines or .parquet), or the folder that `stepsight eval --out` wrote.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", help="Only the first so many traces.", min=1)]
ConcurrencyOption = Annotated[int, typer.Option(help="Traces judged at a time.", min=1)]


@takes(choice=choose_model)
def judge_command(
    context: typer.Context,
    traces: TracesArgument,
    judge: Annotated[
        str | None,
        typer.Option("--judge", "-j", help="Judge anew with this one; without it, the verdicts there are."),
    ] = None,
    limit: LimitOption = None,
    concurrency: ConcurrencyOption = 8,
    *,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """A judge's report card: how far it agrees with the truth, stage by stage, and what it costs."""
    from rich.console import Console

    from stepsight.evaluation.card import judge_card
    from stepsight.reports.judging import card_table
    from stepsight.tracefiles import read_traces, trace_file
    from stepsight.world.truth import is_true

    found = read_traces(trace_file(traces), limit)
    check_known(found, traces)
    if judge is not None:
        found = judged_anew(context, choice, found, judge, concurrency, Console(stderr=True, highlight=False))
    card = judge_card(found, is_true)
    if as_json:
        typer.echo(card.model_dump_json())
    else:
        Console(highlight=False).print(card_table(card))


@takes(choice=choose_model)
def rejudge_command(
    context: typer.Context,
    traces: TracesArgument,
    judge: Annotated[str, typer.Option("--judge", "-j", help="Who decides this time.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the traces with the new verdicts.")],
    limit: LimitOption = None,
    concurrency: ConcurrencyOption = 8,
    *,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Decide finished searches again with another judge; nothing is generated. What was killed goes on."""
    import asyncio

    from rich.console import Console

    from stepsight.cli.deciding import closing, open_judge, remade, surveyed
    from stepsight.evaluation.rejudging import rejudged
    from stepsight.tracefiles import trace_file

    check_writable(out)
    source = trace_file(traces)
    errors = Console(stderr=True, highlight=False)
    found = surveyed(source, limit, errors)
    opened = open_judge(context, choice, judge, errors)
    made = asyncio.run(
        closing(
            remade(
                source,
                out,
                lambda trace: rejudged(trace, opened.judge),
                identity={"verb": "rejudge", **opened.identity},
                total=found.traces,
                limit=limit,
                concurrency=concurrency,
                errors=errors,
            ),
            opened.model,
        )
    )
    if as_json:
        result = {"traces": made.traces, "answers_changed": made.changed, "set_aside": len(found.faults)}
        typer.echo(json.dumps({**result, "resumed": made.resumed, "out": str(out)}))
    else:
        line = f"{made.traces} traces, {made.changed} with another answer: {out}"
        Console(highlight=False).print(line, markup=False, soft_wrap=True)


@takes(choice=choose_model)
def calibrate_command(
    context: typer.Context,
    traces: TracesArgument,
    judge: Annotated[str, typer.Option("--judge", "-j", help="Whose cutoff; it must give scores.")] = "likelihood",
    share: Annotated[
        float, typer.Option(help="Share of the pilot's reasonings that are not good enough; the paper's is 0.6.")
    ] = 0.6,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the cutoff on the card (stepsight.json) of the model folder.")
    ] = False,
    limit: LimitOption = None,
    concurrency: ConcurrencyOption = 8,
    *,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Find the score from which `swires` calls a reasoning good enough, on a pilot that is not measured with."""
    from rich.console import Console

    from stepsight.evaluation.calibration import calibrate
    from stepsight.reports.scores import interval
    from stepsight.tracefiles import read_traces, trace_file
    from stepsight.world.truth import is_true

    card = _card_of(choice, judge) if write else None
    found = read_traces(trace_file(traces), limit)
    judged = judged_anew(context, choice, found, judge, concurrency, Console(stderr=True, highlight=False))
    made = calibrate(judged, is_true, share=share)
    if card is not None:
        _write_cutoff(card, judge, made.cutoff)
    if as_json:
        typer.echo(made.model_dump_json())
        return
    console = Console(highlight=False)
    lines = [
        f"cutoff {made.cutoff:.4f}: {100 * share:g} % of {made.scores:,} reasonings score below it",
        f"as the paper puts it, mean + z x deviation: {made.normal:.4f} ({made.mean:.4f}, {made.deviation:.4f})",
    ]
    if made.above.n and made.below.n:
        lines.append(f"true above it: {interval(made.above)}; below: {interval(made.below)}")
    if card is None:
        lines.append(f"use it: stepsight ask --search swires --judge {judge} --set swires.cutoff={made.cutoff:.4f}")
    else:
        lines.append(f"kept in {card}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _card_of(choice: ModelChoice, judge: str) -> Path:
    """The card that a judge's cutoff belongs on, if it can be written: the model's, or its reward model's.

    Raises:
        InputError: the model is no folder of the user's, or has no reward model in a folder.
    """
    from stepsight.errors import InputError
    from stepsight.model_folders import CARD, read_card

    named = choice.reward if judge == "reward" and choice.reward else choice.name
    folder = Path(named).expanduser()
    if judge == "reward" and not choice.reward and (folder / CARD).is_file():
        folder /= read_card(folder).reward or "no-reward-model"
    if not any((folder / name).is_file() for name in ("config.json", CARD)):
        raise InputError(f"{named} is no model folder, so its card cannot be written", hint="leave --write away")
    check_writable(folder / CARD)
    return folder / CARD


def _write_cutoff(card: Path, judge: str, cutoff: float) -> None:
    from stepsight.files import whole_file
    from stepsight.model_folders import read_card

    held = read_card(card.parent)
    changed = held.model_copy(update={"cutoffs": {**held.cutoffs, judge: round(cutoff, 6)}})
    with whole_file(card) as stream:
        stream.write(changed.model_dump_json(indent=2).encode() + b"\n")


def check_known(traces: list[Trace], path: Path) -> None:
    """Make sure that the truth of the traces' stages is known.

    Raises:
        InputError: they are not about the drawn world.
    """
    from stepsight.errors import InputError

    if not any("scene" in trace.question.meta for trace in traces):
        raise InputError(
            f"nobody knows which candidates in {path} are true: its questions are not of the drawn world",
            hint="make some with `stepsight draw`, answer them with `stepsight eval --out`, and give that folder",
        )


def judged_anew(
    context: typer.Context,
    choice: ModelChoice,
    traces: list[Trace],
    judge: str,
    concurrency: int,
    errors: Console,
) -> list[Trace]:
    """The traces with verdicts of the judge called `judge`, which knows the truth if it is the oracle.

    Raises:
        InputError: there is no such judge, or a picture is missing.
    """
    import asyncio

    from stepsight.cli.deciding import closing, open_judge
    from stepsight.evaluation.rejudging import rejudge
    from stepsight.pictures import check_picture
    from stepsight.reports.progress import described

    for picture in dict.fromkeys(image for trace in traces for image in trace.question.images):
        check_picture(picture)
    opened = open_judge(context, choice, judge, errors)
    with described(errors, "judging", len(traces)) as tell:
        again = rejudge(
            traces, opened.judge, concurrency=concurrency, progress=lambda done: tell(done, opened.judge.name)
        )
        return asyncio.run(closing(again, opened.model))
