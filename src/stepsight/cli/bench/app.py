"""`stepsight bench`: published benchmarks, run and scored; `bench mmstar` is short for `bench run mmstar`.

With `--via` it is short for `bench via mmstar`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from stepsight.cli.bench.compare import compare_command
from stepsight.cli.bench.contamination import contamination_command
from stepsight.cli.bench.page import page_command
from stepsight.cli.bench.run import run_command
from stepsight.cli.bench.score import score_command
from stepsight.cli.bench.table import table_command
from stepsight.cli.bench.via import via_command


class _Bench(TyperGroup):
    """Takes what is no verb for the first benchmark of `run`, or the only one of `via`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ("-h", "--help")
        if args and not asks_help and args[0] not in self.commands:
            via = any(arg == "--via" or arg.startswith("--via=") for arg in args)
            args = ["via" if via else "run", *args]
        return super().parse_args(ctx, args)


bench_app = typer.Typer(
    cls=_Bench,
    help="Published benchmarks in VLMEvalKit's files: run, scored by its rules, compared. A name alone means `run`, "
    "and `via` with --via.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
bench_app.command("run")(run_command)
bench_app.command("score")(score_command)
bench_app.command("compare")(compare_command)
bench_app.command("page")(page_command)
bench_app.command("table")(table_command)
bench_app.command("contamination")(contamination_command)
bench_app.command("via")(via_command)
