"""`stepsight eval`: many questions, scored, with intervals; and the paired difference to another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.model_options import choose_model
from stepsight.cli.options import JsonOption, check_folder
from stepsight.cli.search_options import choose_search
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepsight.assembly import ModelChoice, SearchChoice
    from stepsight.evaluation import EvaluationReport
    from stepsight.evaluation.report import Truth
    from stepsight.records import Question

REPORT = "report.json"


@takes(choice=choose_model, plan=choose_search)
def eval_command(
    context: typer.Context,
    questions: Annotated[
        Path, typer.Option("--questions", "-q", help="JSON lines of questions; `stepsight draw` makes such a file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for traces and report; a run that was killed goes on from there."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="Only the first so many questions.", min=1)] = None,
    concurrency: Annotated[int, typer.Option(help="Questions under way at a time.", min=1)] = 8,
    compare: Annotated[
        Path | None,
        typer.Option(help="Another run's folder, traces or report: print the paired difference to it."),
    ] = None,
    *,
    choice: ModelChoice,
    plan: SearchChoice,
    as_json: JsonOption = False,
) -> None:
    """Answer many questions, score the answers, and say how sure the scores are."""
    from rich.console import Console

    from stepsight.cli.answering import answer_all, check_answered, make_ready
    from stepsight.evaluation import compare as compare_reports
    from stepsight.files import whole_file
    from stepsight.reports.scores import difference_line, scores_table

    # 1. Everything that can be wrong without a model.
    asked = _questions(questions, limit)
    other = None if compare is None else read_run(compare, asked)
    if out is not None:
        check_folder(out)

    # 2. The model.
    answering = make_ready(context, choice, plan, Console(stderr=True, highlight=False))

    # 3. The run.
    report = answer_all(answering, asked, out=out, concurrency=concurrency, truth=_truth(asked))
    if out is not None:
        with whole_file(out / REPORT) as stream:
            stream.write(report.to_json().encode() + b"\n")

    # 4. What came of it.
    difference = None if other is None else compare_reports(report, other)
    if as_json:
        result = report.model_dump(mode="json", exclude={"rows"})
        if difference is not None:
            result["compared"] = difference.model_dump(mode="json")
        typer.echo(json.dumps(result))
    else:
        console = Console(highlight=False)
        console.print(scores_table(report))
        if difference is not None:
            console.print(difference_line(difference, str(compare)), soft_wrap=not console.is_terminal)
    again = "the same command tries them again" if out is not None else "with --out, a second start tries only them"
    check_answered(report.failed, report.questions, again=again)


def read_run(path: Path, questions: Sequence[Question]) -> EvaluationReport:
    """Another run over some of the same questions: its folder or traces (scored again) or its report.

    Raises:
        InputError: there is no such run, or it cannot be read.
    """
    from pydantic import ValidationError

    from stepsight.errors import InputError, RecordError
    from stepsight.evaluation import EvaluationReport
    from stepsight.evaluation.report import score, summarise
    from stepsight.tracefiles import PARQUET, TRACES, sift_traces

    if path.is_dir():
        names = (TRACES, Path(TRACES).with_suffix(PARQUET), REPORT)
        path = next((path / name for name in names if (path / name).is_file()), path / REPORT)
    if not path.is_file():
        raise InputError(f"there is no run {path}", hint="give a folder that `stepsight eval --out` wrote")
    if path.suffix == ".json":
        try:
            return EvaluationReport.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]["msg"]
            raise RecordError(f"{path} is no report: {fault}", hint="give the report.json of a run") from error
    by_id = {question.id: question for question in questions}
    # The last line may be torn if that run was killed; what is whole can be compared.
    traces = [trace for trace in sift_traces(path).rows if trace.question.id in by_id]
    if not traces:
        raise InputError(f"{path} answers none of these questions", hint="compare runs over the same questions")
    return summarise(
        [score(by_id[trace.question.id], trace) for trace in traces],
        strategy=traces[0].strategy,
        judge=traces[0].judge,
        seed=traces[0].seed,
        settings=traces[0].settings,
        wall=0.0,
    )


def _questions(path: Path, limit: int | None) -> list[Question]:
    from stepsight.errors import InputError
    from stepsight.pictures import check_picture
    from stepsight.world.split import load_questions

    questions = load_questions(path)[:limit]
    if not questions:
        raise InputError(f"{path} holds no question", hint="make some with `stepsight draw`")
    for picture in dict.fromkeys(image for question in questions for image in question.images):
        check_picture(picture)
    return questions


def _truth(questions: Sequence[Question]) -> Truth | None:
    """The world's own checker, where all questions are the world's."""
    if any("scene" not in question.meta for question in questions):
        return None
    from stepsight.world.checker import check

    return check
