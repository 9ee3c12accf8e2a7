"""From answers to a result: scores of both texts, the paper's subsets, and the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepsight.evaluation.bench.results import Answers, BenchCard, BenchResult, GraderCard, Texts
from stepsight.evaluation.bench.subsets import subsets_of
from stepsight.evaluation.report import EvaluationReport, installed_versions
from stepsight.evaluation.scoring.cells import as_read
from stepsight.evaluation.scoring.readings import Extractor
from stepsight.evaluation.suites.predictions import Prediction
from stepsight.evaluation.suites.rules import Response, Settings
from stepsight.evaluation.suites.scores import Scores, score, score_by_rules
from stepsight.evaluation.suites.suite import Suite, question_id
from stepsight.prompts.benchmarks import BenchmarkPrompts
from stepsight.prompts.judge import JudgePrompts
from stepsight.records import Finish, Question, Trace
from stepsight.stages import conclusion


def card_of(
    suite: Suite,
    settings: Settings,
    *,
    model: str,
    engine: str = "",
    origin: Mapping[str, Any] | None = None,
    prompts: BenchmarkPrompts | None = None,
    search: Mapping[str, Any] | None = None,
    judge_prompts: JudgePrompts | None = None,
) -> BenchCard:
    """The card of a run of `suite` whose answers are scored by `settings`."""
    return BenchCard(
        model=model,
        engine=engine,
        origin=origin or {},
        prompts=None if prompts is None else Texts(version=prompts.version, digest=prompts.digest),
        search=search or {},
        judge_prompts=None
        if judge_prompts is None
        else Texts(version=judge_prompts.version, digest=judge_prompts.digest),
        generation=settings.generation,
        verbose=settings.verbose,
        data=suite.file,
        versions=installed_versions(),
    )


def search_of(report: EvaluationReport) -> dict[str, Any]:
    """How was searched, as the card has it."""
    settings = {name: value for name, value in report.settings.items() if name != "engine"}
    return {"strategy": report.strategy, "judge": report.judge, "seed": report.seed, **settings}


def answers_of(report: EvaluationReport, traces: Sequence[Trace]) -> Answers:
    """What is kept of how the answers came about."""
    return Answers(
        limited=sum(_limited(trace) for trace in traces),
        format_valid=report.format_valid,
        faults=report.faults,
        failed=report.failed,
        resumed=report.resumed,
        usage=report.usage,
        judging=report.judging,
        seconds=report.seconds,
    )


async def result_of(
    suite: Suite,
    predictions: Sequence[Prediction],
    card: BenchCard,
    settings: Settings,
    *,
    extractor: Extractor | None = None,
    grader: GraderCard | None = None,
    concurrency: int = 8,
    answers: Answers | None = None,
) -> BenchResult:
    """Score predictions, by rules alone or with the judge that `extractor` asks.

    Raises:
        InputError: as `score_by_rules`.
    """
    scores: Scores | None = None
    if suite.answered and extractor is None:
        scores = score_by_rules(suite, predictions, settings)
    elif suite.answered and extractor is not None:
        scores = await score(suite, predictions, extractor, settings, concurrency=concurrency)
    results = () if scores is None else (scores.whole, scores.conclusion)
    rules = suite.benchmark.rules
    return BenchResult(
        dataset=suite.name,
        kind=rules.kind,
        asked=len(suite.lines),
        of=suite.of,
        notices=suite.notices,
        card=card.model_copy(update={"generation": settings.generation, "verbose": settings.verbose, "grader": grader}),
        scores=scores,
        subsets={one.which: subsets_of(suite, one) for one in results if one is not None},
        together={line.index: rules.together(line) for line in suite.lines},
        answers=answers,
    )


def marker(suite: Suite, settings: Settings) -> Callable[[Question, Trace], bool | None]:
    """Says, while a run goes on, whether the CONCLUSION of an answer is right by the benchmark's rules.

    None where only a judge can say. What a whole table makes of a text (`cells.as_read`) is not known yet.
    """
    lines = {question_id(suite.name, line.index): line for line in suite.lines}
    rules = suite.benchmark.rules

    def mark(question: Question, trace: Trace) -> bool | None:
        line, said = lines[question.id], conclusion(trace.text)
        if not rules.answered(line):
            return None
        if said is None:
            return False
        hit = rules.read(line, Response(said, as_read([said])[0]), settings).hit
        return None if hit is None else hit > 0

    return mark


def _limited(trace: Trace) -> bool:
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    return any(by_id[one].finish is Finish.LENGTH for one in trace.chosen)
