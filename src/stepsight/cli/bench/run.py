"""`stepsight bench run`: benchmarks answered by any model and search, and scored; it goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.bench.options import (
    RootOption,
    ScoringChoice,
    choose_scoring,
    make_grader,
    score_all,
    show_results,
)
from stepsight.cli.bench.page import PAGE, write_page
from stepsight.cli.model_options import choose_model
from stepsight.cli.options import JsonOption, check_folder
from stepsight.cli.search_options import choose_search
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepsight.assembly import ModelChoice, SearchChoice
    from stepsight.cli.answering import Answering
    from stepsight.evaluation.bench.grading import Grader
    from stepsight.evaluation.bench.results import BenchResult
    from stepsight.evaluation.suites import Prediction, Suite
    from stepsight.model_folders import Origin
    from stepsight.prompts.benchmarks import BenchmarkPrompts


@takes(scoring=choose_scoring, choice=choose_model, plan=choose_search)
def run_command(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(help="Benchmarks, such as MMStar, in any case; a file of your own without .tsv."),
    ],
    root: RootOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the run; one that was killed goes on from there. Default: one below `bench` that is "
            "called by the model and the search.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", help="Only the first so many questions of each; those scored together stay so.", min=1
        ),
    ] = None,
    prompts: Annotated[
        str,
        typer.Option(
            help="In which words: vlmevalkit-1, llama-1, llava-cot-1 or plain-1. Default: vlmevalkit-1, for models "
            "of the drawn world plain-1.",
            show_default=False,
        ),
    ] = "",
    concurrency: Annotated[int, typer.Option(help="Questions under way at a time.", min=1)] = 8,
    *,
    scoring: ScoringChoice,
    choice: ModelChoice,
    plan: SearchChoice,
    as_json: JsonOption = False,
) -> None:
    """Answer benchmarks, score the answers by VLMEvalKit's rules, and write down all that can move a score."""
    from rich.console import Console

    from stepsight.cli.answering import check_answered, make_ready
    from stepsight.evaluation.suites import read_suite
    from stepsight.prompts.benchmarks import benchmark_prompts

    # 1. Everything that can be wrong without a model.
    words = benchmark_prompts(prompts) if prompts else None
    if out is not None:
        check_folder(out)
    errors = Console(stderr=True, highlight=False)
    read = [read_suite(name, root=root) for name in names]
    suites = list({suite.name: suite if limit is None else suite.first(limit) for suite in read}.values())
    for suite in suites:
        for notice in suite.notices:
            errors.print(f"note: {notice}", style="yellow", markup=False, soft_wrap=True)

    # 2. The model, and the grader.
    answering = make_ready(context, choice, plan, errors)
    card = answering.model.card
    words = words or benchmark_prompts("plain-1" if card.world_only else "vlmevalkit-1")
    folder = out if out is not None else Path("bench") / run_name(card.name, plan)
    check_folder(folder)
    with errors.status("reading the weights"):
        origin = _origin(answering)
    grader = make_grader(scoring, folder)

    # 3. One benchmark after the other.
    results: list[BenchResult] = []
    for suite in suites:
        results.append(_run_one(suite, folder / suite.name, answering, words, origin, scoring, concurrency, grader))
        if not as_json:
            show_results(results[-1:], as_json=False)

    # 4. What came of it.
    write_page([folder], folder / PAGE)
    if as_json:
        show_results(results, as_json=True)
    else:
        Console(highlight=False).print(f"results and {PAGE} are in {folder}", markup=False, soft_wrap=True)
    failed = {id: why for one in results if one.answers is not None for id, why in one.answers.failed.items()}
    check_answered(failed, sum(one.asked for one in results), again="the same command tries them again")


def _run_one(
    suite: Suite,
    folder: Path,
    answering: Answering,
    words: BenchmarkPrompts,
    origin: Origin,
    scoring: ScoringChoice,
    concurrency: int,
    grader: Grader | None,
) -> BenchResult:
    from stepsight.cli.answering import answer_all
    from stepsight.evaluation.bench.making import answers_of, card_of, marker, search_of
    from stepsight.evaluation.bench.results import write_result
    from stepsight.evaluation.suites import predictions_of
    from stepsight.prompts.judge import judge_prompts
    from stepsight.tracefiles import TRACES, read_traces

    model = answering.model
    report = answer_all(
        answering,
        suite.questions(words),
        out=folder,
        concurrency=concurrency,
        what=suite.name,
        right=marker(suite, scoring.settings),
        belongs={
            "dataset": suite.name,
            "data": suite.file.md5,
            "prompts": words.digest,
            "model": origin.model_dump(mode="json"),
        },
    )
    asked = {line.index for line in suite.lines}
    traces = (
        [trace for trace in read_traces(folder / TRACES) if trace.question.meta["index"] in asked]
        if report.rows
        else []
    )
    predictions = predictions_of(traces)
    card = card_of(
        suite,
        scoring.settings,
        model=model.card.name,
        engine=model.engine.name,
        origin=origin.model_dump(mode="json"),
        prompts=words,
        search=search_of(report),
        judge_prompts=None if report.judge is None else judge_prompts(model.card.judge_prompts),
    )
    result = score_all(
        suite,
        predictions,
        card,
        scoring,
        grader,
        answering.errors,
        concurrency=concurrency,
        answers=answers_of(report, traces),
    )
    write_files(folder, suite, model.card.name, predictions)
    write_result(folder, result)
    return result


def write_files(folder: Path, suite: Suite, model: str, predictions: Sequence[Prediction]) -> None:
    """Predictions in VLMEvalKit's form, whole and conclusions; of MMBench's part without answers, what is handed in."""
    from stepsight.evaluation.suites import write_predictions, write_submission
    from stepsight.evaluation.suites.predictions import file_name

    write_predictions(folder / file_name(model, suite.name), suite, predictions, "whole")
    write_predictions(folder / file_name(f"{model}-conclusion", suite.name), suite, predictions, "conclusion")
    whole = len(suite.lines) == suite.of == len(predictions)
    if not suite.answered and suite.name.startswith("MMBench") and whole:
        write_submission(folder / file_name(f"{model}-submission", suite.name), suite, predictions)


def run_name(model: str, plan: SearchChoice) -> str:
    """What a run's folder is called unless it is named."""
    settings = plan.settings
    search = "greedy" if plan.search == "greedy" else f"{plan.search}-{settings.width}-{plan.judge}-seed{settings.seed}"
    return f"{model.replace('/', '--')}_{search}"


def _origin(answering: Answering) -> Origin:
    from stepsight.model_folders import Origin, origin_of, resolve_model

    model = answering.model
    if model.choice is None:
        return Origin(source=model.card.name)
    if model.choice.server:
        return Origin(source=model.choice.server)
    return origin_of(resolve_model(model.choice.name), model.choice.revision)
