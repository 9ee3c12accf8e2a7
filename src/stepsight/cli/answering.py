"""What `eval` and `bench` share: a model made ready, and many questions answered while a bar says how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepsight.cli.model_options import brought_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import typer
    from rich.console import Console

    from stepsight.assembly import LoadedModel, ModelChoice, SearchChoice
    from stepsight.evaluation import EvaluationReport, Progress
    from stepsight.evaluation.report import Truth
    from stepsight.evaluation.run import Right
    from stepsight.protocols import Judge
    from stepsight.records import Question

PROBE = "server.json"


@dataclass(frozen=True)
class Answering:
    """A loaded model with the judge of its search; what is said while it works goes to `errors`."""

    model: LoadedModel
    judge: Judge | None
    plan: SearchChoice
    errors: Console


def make_ready(context: typer.Context, choice: ModelChoice, plan: SearchChoice, errors: Console) -> Answering:
    """Load the model, or take the one that was brought along, and build the judge.

    Raises:
        StepsightError: the model cannot be used, or the judge cannot serve the search.
    """
    from stepsight.assembly import build_judge, check_choice, load_model, unrepeatable, with_judge_prompts

    ready = brought_model(context)
    if ready is None:
        check_choice(choice)
        with errors.status(f"loading {choice.name}"):
            ready = load_model(choice)
    model = with_judge_prompts(ready, choice.judge_prompts)
    judge = build_judge(plan.judge, model, search=plan.search, width=plan.settings.width)
    if warning := unrepeatable(model, search=plan.search, temperature=plan.settings.temperature):
        errors.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    return Answering(model, judge, plan, errors)


def answer_all(
    answering: Answering,
    questions: Sequence[Question],
    *,
    out: Path | None,
    concurrency: int,
    what: str = "answering",
    truth: Truth | None = None,
    right: Right | None = None,
    belongs: Mapping[str, object] | None = None,
) -> EvaluationReport:
    """Answer every question, going on with the traces in the folder `out`; arguments are those of `evaluate`.

    Raises:
        StepsightError: as `evaluate`.
    """
    import asyncio

    from stepsight.evaluation import evaluate, wilson
    from stepsight.reports.progress import described
    from stepsight.reports.scores import interval
    from stepsight.search import strategy
    from stepsight.tracefiles import TRACES

    model, plan = answering.model, answering.plan
    with described(answering.errors, what, len(questions)) as tell:

        def progress(now: Progress) -> None:
            failed = f", {now.failed} failed" if now.failed else ""
            tell(now.done, f"accuracy {interval(wilson(now.correct, now.scored))}{failed}")

        async def answers() -> EvaluationReport:
            try:
                return await evaluate(
                    questions,
                    model.engine,
                    answering.judge,
                    strategy(plan.search),
                    plan.settings,
                    concurrency=concurrency,
                    truth=truth,
                    out=None if out is None else out / TRACES,
                    progress=progress,
                    versions={"model": model.card.name},
                    right=right,
                    belongs=belongs,
                )
            finally:
                await model.aclose()

        # A folder of another run is refused when the run starts; until then its probe is not ours to replace.
        if out is not None and not (out / TRACES).exists():
            _keep_probe(out, model)
        report = asyncio.run(answers())
    if out is not None:
        _keep_probe(out, model)
    return report


def check_answered(failed: Mapping[str, str], questions: int, *, again: str) -> None:
    """Say that some questions have no answer, if that is so; `again` says what to do about it.

    Raises:
        EngineError: some have none.
    """
    from stepsight.errors import EngineError

    if failed:
        first = next(iter(failed.values()))
        raise EngineError(f"{len(failed)} of {questions} questions have no answer: {first}", hint=again)


def _keep_probe(out: Path, model: LoadedModel) -> None:
    """Keep beside the results what the server was seen to do, if there is one."""
    from stepsight.files import whole_file

    if model.probe is not None:
        with whole_file(out / PROBE) as stream:
            stream.write(model.probe.model_dump_json(indent=2).encode() + b"\n")
