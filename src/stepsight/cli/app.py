"""The program `stepsight`: its verbs, and how it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.ask import ask_command
from stepsight.cli.bench.app import bench_app
from stepsight.cli.convert import convert_command
from stepsight.cli.curves import curves_command
from stepsight.cli.data.app import data_app
from stepsight.cli.doctor import doctor_command
from stepsight.cli.draw import draw_command
from stepsight.cli.evaluate import eval_command
from stepsight.cli.export import export_command
from stepsight.cli.improve import improve_command
from stepsight.cli.judge import calibrate_command, judge_command, rejudge_command
from stepsight.cli.narrow import narrow_command
from stepsight.cli.reproduce import reproduce_command
from stepsight.cli.serve import serve_command
from stepsight.cli.show import show_command
from stepsight.cli.study import study_command
from stepsight.cli.teacher import teacher_app
from stepsight.cli.train import train_command
from stepsight.errors import InputError, StepsightError

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel

INTERRUPTED = 130

app = typer.Typer(
    help="Ask a vision-language model about a picture: it answers in four stages, searching over them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask_command)
app.command("draw")(draw_command)
app.command("train")(train_command)
app.command("curves")(curves_command)
app.command("eval")(eval_command)
app.command("judge")(judge_command)
app.command("rejudge")(rejudge_command)
app.command("narrow")(narrow_command)
app.command("calibrate")(calibrate_command)
app.command("study")(study_command)
app.command("reproduce")(reproduce_command)
app.command("improve")(improve_command)
app.command("show")(show_command)
app.command("convert")(convert_command)
app.command("doctor")(doctor_command)
app.command("export")(export_command)
app.add_typer(bench_app, name="bench")
app.command("serve")(serve_command)
app.add_typer(teacher_app, name="teacher")
app.add_typer(data_app, name="data")


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"stepsight {version('stepsight')}")
        except PackageNotFoundError:
            typer.echo("stepsight, run from its sources without being installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str], *, model: LoadedModel | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for what the user gave, 130 for an interruption, 1 otherwise.

    An expected failure is one line on stderr. Any other exception is a bug and keeps its traceback. A loaded `model`
    stands in for the one that the options name, so that a program can bring its own engine.
    """
    try:
        code = app(args=list(arguments or ["--help"]), prog_name="stepsight", obj=model, standalone_mode=False)
    except typer.TyperException as error:
        # Left to itself, typer draws a box around what is wrong with an option.
        context = getattr(error, "ctx", None)
        command = "stepsight" if context is None else context.command_path
        print(f"error: {_one_line(error.format_message())} (see {command} --help)", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except StepsightError as error:
        print(f"error: {_one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except BrokenPipeError:
        # The reader went away, as in `stepsight ... | head`; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _one_line(message: str) -> str:
    """A recipe's error lists its faults line by line; on the terminal they share one."""
    return "; ".join(" ".join(line.split()) for line in message.splitlines() if line.strip())
