"""`stepsight data build` and `stepsight data forecast`: staged answers from a teacher behind a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.data.build_options import BuildPlan, choose_build
from stepsight.cli.model_options import brought_model
from stepsight.cli.options import JsonOption, check_folder
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from rich.console import Console

    from stepsight.assembly import LoadedModel
    from stepsight.data.building import Built, Progress
    from stepsight.data.forecast import Forecast, Range
    from stepsight.data.ledger import Ledger
    from stepsight.data.lessons import Lesson
    from stepsight.protocols import Engine


QuestionsArgument = Annotated[
    Path, typer.Argument(metavar="QUESTIONS", help="JSON lines of questions with known answers.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the ledger and all that is made of it.")]


@takes(plan=choose_build)
def build_command(
    context: typer.Context,
    questions: QuestionsArgument,
    out: OutOption,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the folder.")] = False,
    pictures: Annotated[
        str, typer.Option("--pictures", help="Of kept rows, into the folder: link (or else copy), copy, or leave.")
    ] = "link",
    *,
    plan: BuildPlan,
    as_json: JsonOption = False,
) -> None:
    """Have a teacher write staged answers to questions with known answers, sift them, and keep account of it all.

    Ctrl-C once finishes what is under way, twice leaves it; either way nothing that was received is lost.
    """
    from rich.console import Console

    from stepsight.data.building import REJECTS
    from stepsight.data.dataset import RECIPE, Pictures, write_dataset
    from stepsight.data.ledger import LEDGER, Ledger
    from stepsight.data.lessons import read_lessons
    from stepsight.data.prices import dollars
    from stepsight.data.staged_rows import TRAIN
    from stepsight.errors import EngineError, InputError, StepsightError
    from stepsight.recipes import save_resolved
    from stepsight.reports.progress import described

    # 1. Everything that can be wrong without a teacher.
    check_folder(out)
    if pictures not in tuple(Pictures):
        raise InputError(f"there is no way {pictures!r} with pictures", hint=f"choose one of {', '.join(Pictures)}")
    if (out / LEDGER).exists() and not resume:
        raise InputError(f"{out} holds a run already", hint="go on with it by --resume, or choose another folder")
    total = sum(1 for _ in read_lessons(questions, plan.images))
    if not total:
        raise InputError(f"{questions} holds no question", hint="make some with `stepsight draw`")

    # 2. The teacher, and the run.
    errors = Console(stderr=True, highlight=False)
    teacher = _teacher(context, plan)
    with Ledger(out / LEDGER, plan.recipe.card(teacher.engine.name)) as ledger:
        save_resolved(plan.recipe, out / RECIPE)  # now, as a run that is killed should say how it was made
        try:
            with described(errors, "teaching", total) as tell:
                built = _run(read_lessons(questions, plan.images), teacher, plan, ledger, errors, _teller(tell))
        finally:
            # Whatever happened, what is settled can be used.
            again = read_lessons(questions, plan.images)
            made = write_dataset(out, ledger, plan.recipe, teacher.engine.name, again, Pictures(pictures))
        states, reasons, spent, lost = ledger.states(), ledger.reasons(), ledger.spent(), ledger.lost()

    # 3. What came of it.
    if as_json:
        told = {"ending": built.ending, "questions": total, "states": states, "reasons": reasons}
        told |= {"rows": made.manifest.rows, "pictures": made.placed.count}
        now = built.progress
        money = {"dollars": spent / 1e12, "perhaps_billed": lost / 1e12}
        work = {"asked": now.asked, "recalled": now.recalled, "resumed": now.resumed, "seconds": now.seconds}
        typer.echo(json.dumps({**told, **money, **work}))
    else:
        kept, rejected = made.manifest.rows, sum(reasons.values())
        typer.echo(f"{out / TRAIN}: {kept} rows; {out / REJECTS}: {rejected}; {dollars(spent)} spent")
        for reason, count in reasons.items():
            typer.echo(f"  {count:6} {reason}")
    if not made.parquet:
        errors.print(
            "note: no train.parquet without pyarrow; pip install 'stepsight[data]'", style="yellow", markup=False
        )
    if built.ending == "stopped":
        raise typer.Abort
    if built.ending == "dollars":
        raise StepsightError(f"stopped before the cap: {built.why}")
    if built.progress.failed:
        raise EngineError(
            f"{built.progress.failed} of {total} questions have no answer: {built.first_failure}",
            hint="the same command with --resume tries them again",
        )
    if made.placed.faults:
        raise InputError(
            f"{len(made.placed.faults)} pictures are not in {out}: {made.placed.faults[0]}",
            hint="put them where the questions name them, and give the same command with --resume",
        )


@takes(plan=choose_build)
def forecast_command(
    context: typer.Context,
    questions: QuestionsArgument,
    out: OutOption,
    pilot: Annotated[int, typer.Option("--pilot", "-n", help="So many questions, drawn from all.", min=1)] = 50,
    seed: Annotated[int, typer.Option(help="Which questions are drawn.")] = 0,
    *,
    plan: BuildPlan,
    as_json: JsonOption = False,
) -> None:
    """Teach a few questions and say what all will cost, how long it takes, and how many will be kept.

    Nothing is paid for twice: `stepsight data build --resume` into the same folder goes on from the pilot.
    """
    from rich.console import Console

    from stepsight.data.forecast import choose_pilot, forecast
    from stepsight.data.ledger import LEDGER, Ledger
    from stepsight.data.lessons import read_lessons
    from stepsight.errors import EngineError, InputError
    from stepsight.reports.progress import described

    check_folder(out)
    if plan.recipe.prices.free:
        Console(stderr=True).print("note: without prices the cost is told as 0", style="yellow")
    chosen, total = choose_pilot(read_lessons(questions, plan.images), pilot, seed)
    if not total:
        raise InputError(f"{questions} holds no question", hint="make some with `stepsight draw`")
    errors = Console(stderr=True, highlight=False)
    teacher = _teacher(context, plan)
    with Ledger(out / LEDGER, plan.recipe.card(teacher.engine.name)) as ledger:
        before = ledger.totals()["seconds"]
        with described(errors, "pilot", len(chosen)) as tell:
            built = _run(iter(chosen), teacher, plan, ledger, errors, _teller(tell))
        waited = ledger.totals()["seconds"] - before
        if waited:
            ledger.note("at_once", waited / max(built.progress.seconds, 1e-9))
        # A pilot that was there already tells nothing new of how much runs side by side.
        at_once = ledger.noted("at_once") or float(plan.recipe.window)
        told = forecast(ledger.costs(), total, at_once=at_once, seed=seed)
    if as_json:
        typer.echo(told.model_dump_json())
    else:
        typer.echo(_forecast_text(told))
    if built.ending != "done":
        raise EngineError("the pilot did not come to its end", hint=built.why or "give the same command again")


def _forecast_text(told: Forecast) -> str:
    def line(name: str, found: Range, form: str) -> str:
        return f"{name:<11}{found.value:{form}}  ({found.low:{form}} to {found.high:{form}})"

    lines = [
        f"{told.total} questions, from a pilot of {told.pilot}; 95 % intervals",
        line("kept", told.keep, ".1%"),
        line("rows", told.rows, ",.0f"),
        line("dollars", told.dollars, ",.2f"),
        line("hours", told.hours, ",.2f"),
    ]
    return "\n".join(lines)


def _teacher(context: typer.Context, plan: BuildPlan) -> LoadedModel:
    from rich.console import Console

    from stepsight.assembly import ModelChoice, load_model
    from stepsight.errors import InputError
    from stepsight.model_folders import PICO

    ready = brought_model(context)
    if ready is not None:
        return ready
    if not plan.server:
        raise InputError("no teacher is named", hint="name a server with --server")
    with Console(stderr=True, highlight=False).status(f"asking {plan.server} what it can do"):
        return load_model(ModelChoice(plan.model or PICO, server=plan.server))


def _teller(tell: Callable[[int, str], None]) -> Callable[[Progress], None]:
    from stepsight.data.prices import dollars

    def told(now: Progress) -> None:
        failed = f", {now.failed} failed" if now.failed else ""
        tell(now.done, f"{now.kept} kept, {now.rejected} rejected{failed}, {dollars(now.spent)}")

    return told


def _run(
    lessons: Iterator[Lesson],
    teacher: LoadedModel,
    plan: BuildPlan,
    ledger: Ledger,
    errors: Console,
    progress: Callable[[Progress], None],
) -> Built:
    import asyncio

    from stepsight.cli.data.executors import executing
    from stepsight.data.building import build

    async def work(asking: AbstractAsyncContextManager[Engine], plan: BuildPlan) -> Built:
        stop = asyncio.Event()
        with _interrupts(stop, errors):
            try:
                async with asking as engine:
                    return await build(
                        lessons,
                        engine,
                        plan.recipe,
                        ledger,
                        max_dollars=plan.max_dollars,
                        stop=stop,
                        progress=progress,
                    )
            finally:
                await teacher.aclose()

    with executing(plan, teacher) as (asking, plan):
        return asyncio.run(work(asking, plan))


@contextmanager
def _interrupts(stop: asyncio.Event, errors: Console) -> Iterator[None]:
    """The first Ctrl-C sets `stop`, the second leaves what is under way."""
    import asyncio
    import signal

    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        errors.print("finishing what is under way; Ctrl-C again leaves it", style="yellow")
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except (NotImplementedError, RuntimeError, ValueError):
        # No such handlers on this system, or not the main thread: Ctrl-C leaves at once, and nothing is lost.
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
