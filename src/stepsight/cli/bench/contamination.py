"""`stepsight bench contamination`: what training sets have seen of a benchmark, and the score without it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stepsight.cli.bench.options import RootOption
from stepsight.cli.options import JsonOption, check_writable, counting


def contamination_command(
    name: Annotated[str, typer.Argument(help="The benchmark, such as MMStar, or a TSV file of one's own by name.")],
    train: Annotated[
        list[Path],
        typer.Option("--train", help="Rows in the format of LLaVA-CoT-100k, or a folder that holds train.jsonl."),
    ],
    images: Annotated[
        Path | None,
        typer.Option("--images", help="The folder that `image` paths start from; by default that of the rows."),
    ] = None,
    root: RootOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="A file of predictions in VLMEvalKit's form, to be scored without judge."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Scores of a run, by a grader or not: its folder, or its result.json."),
    ] = None,
    generation: Annotated[
        str | None, typer.Option("--generation", help="Of the rules for --predictions: 2024, 2025-08 or 2026-06.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode pictures.", min=1)] = None,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the whole report, as JSON.")] = None,
) -> None:
    """Find a benchmark's questions that training sets hold, by picture, by text or both, and score without them.

    Circles and sets that are scored together are left out whole.
    """
    from stepsight.data.staged_rows import dataset_files
    from stepsight.errors import InputError
    from stepsight.evaluation.bench.results import RESULT, read_result
    from stepsight.evaluation.contamination import contamination, headline, with_scores
    from stepsight.evaluation.scoring.generations import generation_of
    from stepsight.evaluation.suites import Settings, read_predictions, read_suite, score_by_rules
    from stepsight.files import whole_file

    if out is not None:
        check_writable(out)
    if predictions is not None and scores is not None:
        raise InputError("--predictions and --scores are both given", hint="give one of them")
    if generation is not None and predictions is None:
        raise InputError("--generation is of --predictions, which are not given", hint="give both, or neither")
    sets = [dataset_files(one, images) for one in train]
    suite = read_suite(name, root=root)
    # Whatever is wrong with predictions shows before pictures are looked at for minutes.
    told = None
    if predictions is not None:
        settings = Settings() if generation is None else Settings(generation=generation_of(generation))
        told = score_by_rules(suite, read_predictions(predictions), settings)
    elif scores is not None:
        stored = read_result(scores / RESULT if scores.is_dir() else scores)
        told = stored.scores
        if told is None:
            raise InputError(f"{scores} holds no scores", hint=f"the file of {stored.dataset} has no answers")
        suite = suite.first(stored.asked)
    with counting("looking at") as tell:
        report = contamination(suite, sets, workers=workers or os.cpu_count() or 1, progress=tell)
    if told is not None:
        report = with_scores(report, suite, told)
    if out is not None:
        with whole_file(out) as stream:
            stream.write(report.model_dump_json(indent=2).encode() + b"\n")
    typer.echo(report.model_dump_json() if as_json else "\n".join(headline(report)))
