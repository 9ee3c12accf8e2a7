"""What several verbs of `bench` ask of their options: where files lie, by which rules to score, and who judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from stepsight.evaluation.bench.grading import Grader
    from stepsight.evaluation.bench.results import Answers, BenchCard, BenchResult
    from stepsight.evaluation.suites import Prediction, Settings, Suite

_SCORING = "Scoring"
KEY_VARIABLE = "STEPSIGHT_GRADER_KEY"
VERDICTS = "verdicts"

RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of the benchmark files. Default: LMUData, or ~/LMUData.", show_default=False),
]
GenerationOption = Annotated[
    str,
    typer.Option(help="Of VLMEvalKit's rules: 2024, 2025-08 or 2026-06.", rich_help_panel=_SCORING),
]
GraderOption = Annotated[
    str,
    typer.Option(
        "--grader",
        help="Base URL of a server whose model reads and grades answers where VLMEvalKit asks a judge; the key, if "
        f"any, is {KEY_VARIABLE} (for OpenAI, OPENAI_API_KEY too). Without it, rules alone decide.",
        rich_help_panel=_SCORING,
        show_default=False,
    ),
]
GraderModelOption = Annotated[
    str,
    typer.Option(
        "--grader-model",
        help="The grader's id on its server. Default: the only one it has.",
        rich_help_panel=_SCORING,
        show_default=False,
    ),
]
GradingPromptsOption = Annotated[
    str, typer.Option("--grading-prompts", help="Version of the grader's texts.", rich_help_panel=_SCORING)
]
VerdictsOption = Annotated[
    Path | None,
    typer.Option(
        "--verdicts",
        help="Folder that keeps the grader's replies; runs may share one. Default: `verdicts` beside the results.",
        rich_help_panel=_SCORING,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class ScoringChoice:
    """By which rules, and by which grader; `url` is empty where rules alone decide."""

    settings: Settings
    url: str
    model: str
    prompts: str
    verdicts: Path | None


def choose_scoring(
    generation: GenerationOption = "2026-06",
    grader: GraderOption = "",
    grader_model: GraderModelOption = "",
    grading_prompts: GradingPromptsOption = "grading-1",
    verdicts: VerdictsOption = None,
) -> ScoringChoice:
    """What the options say, checked.

    Raises:
        InputError: there are no such rules or texts, or the grader's address is none.
    """
    from stepsight.engines.openai.address import checked_url
    from stepsight.errors import InputError
    from stepsight.evaluation.scoring.generations import generation_of
    from stepsight.evaluation.suites import Settings
    from stepsight.prompts.grading import grading_prompts as known

    if grader_model and not grader:
        raise InputError("a grader's model is named, and no server", hint="name its server with --grader")
    version = known(grading_prompts).version
    url = checked_url(grader) if grader else ""
    return ScoringChoice(Settings(generation_of(generation)), url, grader_model, version, verdicts)


def make_grader(choice: ScoringChoice, beside: Path) -> Grader | None:
    """Connect to the grader; None where none is wanted.

    Args:
        choice: as the options say.
        beside: the folder of the results, where its replies are kept unless another folder is named.

    Raises:
        StepsightError: no server there, a wrong key, no such model.
    """
    import os

    from stepsight.engines.openai import connect
    from stepsight.engines.openai.address import KEY_VARIABLES, Key
    from stepsight.evaluation.bench.grading import Grader
    from stepsight.evaluation.bench.verdicts import Verdicts
    from stepsight.prompts.grading import grading_prompts
    from stepsight.tasks import finished

    if not choice.url:
        return None
    # The key of the model's server must not go to the grader's.
    known = {KEY_VARIABLES[0]: os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLES[1]: os.environ.get(KEY_VARIABLES[1], "")}
    key = Key.from_environment(choice.url, known)
    engine = finished(connect(choice.url, choice.model, key=key, timeout=120.0))
    verdicts = Verdicts(choice.verdicts or beside / VERDICTS)
    return Grader(engine, grading_prompts(choice.prompts), verdicts, choice.settings.generation)


def score_all(
    suite: Suite,
    predictions: Sequence[Prediction],
    card: BenchCard,
    choice: ScoringChoice,
    grader: Grader | None,
    errors: Console,
    *,
    concurrency: int = 8,
    answers: Answers | None = None,
) -> BenchResult:
    """Score predictions, and say on `errors` what became of the questions to the grader."""
    import asyncio

    from stepsight.evaluation.bench.grading import Told
    from stepsight.evaluation.bench.making import result_of

    async def scored() -> BenchResult:
        try:
            return await result_of(
                suite,
                predictions,
                card,
                choice.settings,
                extractor=grader,
                grader=None if grader is None else grader.card,
                concurrency=concurrency,
                answers=answers,
            )
        finally:
            close = getattr(None if grader is None else grader.engine, "aclose", None)
            if close is not None:
                await close()

    if grader is None:
        return asyncio.run(scored())
    grader.told = Told()
    with errors.status(f"grading {suite.name}"):
        result = asyncio.run(scored())
    told = grader.told
    errors.print(
        f"{suite.name}: the grader replied {told.replied} times, {told.remembered} replies were known already",
        markup=False,
        soft_wrap=True,
    )
    if told.failed or told.unreadable:
        why = f": {told.why}" if told.why else ""
        errors.print(
            f"note: the grader failed on {told.failed} texts{why}; of {told.unreadable} it said nothing readable; "
            "these are unscored, and `stepsight bench score` asks again",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    return result


def show_results(results: Sequence[BenchResult], as_json: bool) -> None:
    """Print results: one JSON object, or a table for each benchmark."""
    import json

    from rich.console import Console

    from stepsight.reports.bench.terminal import result_lines

    if as_json:
        typer.echo(json.dumps({"results": [result.short() for result in results]}))
        return
    console = Console(highlight=False)
    for result in results:
        for part in result_lines(result):
            console.print(part, soft_wrap=not console.is_terminal)
