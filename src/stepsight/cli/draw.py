"""`stepsight draw`: pictures of the tabletop world with questions whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

Format = Literal["questions", "tsv-mcq", "tsv-yn", "tsv-vqa"]


def draw_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures and questions.jsonl, or the file.")],
    split: Annotated[str, typer.Option(help="train, test or hard; no scene is in two of them.")] = "test",
    count: Annotated[
        int, typer.Option("--count", "-n", help="How many questions, each with its picture.", min=1)
    ] = 100,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    crowded: Annotated[
        bool, typer.Option("--crowded", help="Only scenes with as many objects as the split has at most, or one less.")
    ] = False,
    format: Annotated[
        Format,
        typer.Option(
            help="Pictures and questions.jsonl, or a benchmark file in VLMEvalKit's form: of multiple choices, of "
            "questions for yes or no, or of all others.",
        ),
    ] = "questions",
) -> None:
    """Draw pictures with questions, answers and the whole truth about every stage."""
    from rich.console import Console

    from stepsight.cli.options import check_folder
    from stepsight.reports.progress import counting
    from stepsight.world.benchmarks import Kind, save_benchmark
    from stepsight.world.split import save_split

    check_folder(out)
    errors = Console(stderr=True)
    with counting(errors, "drawing", count) as count_to:
        if format == "questions":
            path = save_split(split, seed=seed, count=count, out=out, crowded=crowded, progress=count_to)
        else:
            kind = cast(Kind, format.removeprefix("tsv-"))
            path = save_benchmark(kind, split, seed=seed, count=count, out=out, crowded=crowded, progress=count_to)
    typer.echo(path)
