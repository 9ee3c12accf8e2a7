"""`stepsight teacher serve`: a teacher that costs nothing, for building datasets of the drawn world offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

teacher_app = typer.Typer(help="A teacher of the drawn world, served like any other.", no_args_is_help=True)


@teacher_app.callback()
def _group() -> None:
    # With one verb alone, typer would take `serve` for an argument.
    pass


@teacher_app.command("serve")
def serve_command(
    questions: Annotated[
        list[Path], typer.Option("--questions", "-q", help="questions.jsonl of `stepsight draw`; repeatable.")
    ],
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8000,
    seed: Annotated[int, typer.Option(help="Decides which questions go wrong, and how.")] = 0,
    malformed: Annotated[float, typer.Option(help="Share of questions answered in a broken form.")] = 0.1,
    wrong: Annotated[float, typer.Option(help="Share of questions answered wrongly.")] = 0.1,
    refusal: Annotated[float, typer.Option(help="Share of questions that it declines.")] = 0.1,
    truncated: Annotated[float, typer.Option(help="Share of questions whose answer is cut short.")] = 0.0,
    persistent: Annotated[float, typer.Option(help="Share of these that a second attempt does not mend.")] = 0.0,
    passing: Annotated[float, typer.Option(help="Share of these that a new conversation mends.")] = 0.0,
    status_429: Annotated[float, typer.Option("--status-429", help="Share of requests refused as too many.")] = 0.05,
    status_500: Annotated[float, typer.Option("--status-500", help="Share of requests that fail.")] = 0.05,
    slow: Annotated[float, typer.Option(help="Share of requests that wait.")] = 0.0,
    slow_seconds: Annotated[float, typer.Option(help="How long these wait.")] = 5.0,
    retry_after: Annotated[float, typer.Option(help="Seconds that a 429 asks to wait.")] = 1.0,
    log: Annotated[Path | None, typer.Option(help="Add what was injected to this file, one JSON a line.")] = None,
) -> None:
    """Answer questions of the drawn world from the truth, until Ctrl-C; prints its URL.

    A question is recognised by its picture's pixels and its words. What went wrong on purpose is also at /injected.
    """
    import signal
    import threading

    from stepsight.cli.options import check_writable
    from stepsight.serving.teacher import Shares, TeacherServer
    from stepsight.world.recall import Recall
    from stepsight.world.split import load_questions

    if log is not None:
        check_writable(log)
    shares = Shares(
        malformed=malformed,
        wrong=wrong,
        refusal=refusal,
        truncated=truncated,
        persistent=persistent,
        passing=passing,
        status_429=status_429,
        status_500=status_500,
        slow=slow,
        slow_seconds=slow_seconds,
        retry_after=retry_after,
    )
    recall = Recall(question for path in questions for question in load_questions(path))
    stop = threading.Event()
    # A shell starts what it puts into the background with SIGINT ignored; SIGTERM is how that is ended.
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        with TeacherServer(recall, shares, seed=seed, port=port, log=log) as server:
            typer.echo(server.url)
            stop.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
