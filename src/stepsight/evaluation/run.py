"""Run a strategy over many questions at once, so that an interrupted run can go on.

Every finished trace is appended to a JSON-lines file at once; beside it `<file>.run.json` says what run it belongs to.
A restart skips what is finished. Seeds belong to questions, so neither concurrency nor order changes an answer; only
how many tokens were computed and how many reused depends on what the engine still held from other questions.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from stepsight.errors import EngineError, InputError, PictureError, StepsightError, TooLongError
from stepsight.evaluation.report import EvaluationReport, Read, Row, Truth, read_staged, score, summarise
from stepsight.files import whole_file
from stepsight.jsonl import append_jsonl, sift_jsonl, write_jsonl
from stepsight.locks import alone
from stepsight.protocols import Engine, Judge, SearchSettings, Strategy
from stepsight.records import Question, Trace
from stepsight.search.lines import settings_record


@dataclass(frozen=True)
class Progress:
    """How far a run is: questions finished (resumed ones too), failed, scored and right so far, out of `total`."""

    done: int
    total: int
    failed: int
    scored: int
    correct: int


Right = Callable[[Question, Trace], bool | None]
"""Says whether a finished answer is right; None where it cannot tell."""


async def evaluate(
    questions: Sequence[Question],
    engine: Engine,
    judge: Judge | None,
    strategy: Strategy,
    settings: SearchSettings,
    *,
    concurrency: int = 8,
    truth: Truth | None = None,
    read: Read = read_staged,
    out: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    versions: dict[str, str] | None = None,
    right: Right | None = None,
    belongs: Mapping[str, object] | None = None,
) -> EvaluationReport:
    """Answer every question and score the answers.

    A question that cannot be asked (its picture is unreadable, it is too long for the model), or on which the engine
    fails for a passing reason (`retryable`), is reported under `failed` and left for the next start; any other error
    stops the run, and what is finished stays in `out`.

    Args:
        questions: what to ask; ids must differ.
        engine: answers; awaited by `concurrency` questions at once.
        judge: passed to the strategy.
        strategy: how each question is searched.
        settings: passed to the strategy.
        concurrency: how many questions are under way at any time.
        truth: checks CAPTION and REASONING, where something is known of them.
        read: takes answers apart, for models that write them in another form.
        out: a JSON-lines file of traces; None keeps nothing and cannot resume.
        progress: called after every question, and once at the start.
        versions: further versions for the report, such as the model's.
        right: which answers `progress` counts as right; by default those that the report does.
        belongs: what else a file of traces belongs to, such as the model's weights: with another value it is refused.

    Raises:
        InputError: ids repeat, `concurrency` is not positive, `out` belongs to another run, or another process is
            writing to it.
    """
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}", hint="give at least 1")
    if len({question.id for question in questions}) < len(questions):
        raise InputError("two questions share an id", hint="give each question of a run its own id")
    started = time.perf_counter()
    name = getattr(strategy, "__name__", type(strategy).__name__).replace("_", "-")
    judge_name = None if judge is None else judge.name
    record = settings_record(engine, settings)
    with alone(out):
        finished = resume(out, {**run_card(name, judge, engine, settings), **(belongs or {})}, questions)

        run = _Run(len(questions), progress, partial(score, truth=truth, read=read), right)
        for question in questions:
            if question.id in finished:
                run.finish(question, finished[question.id])
        waiting = iter([question for question in questions if question.id not in finished])
        run.tell()

        async def work(queue: Iterator[Question]) -> None:
            for question in queue:
                try:
                    trace = await strategy(question, engine, judge, settings)
                except (PictureError, TooLongError) as error:
                    # The fault of this question, not of the run.
                    run.fail(question, error)
                except EngineError as error:
                    if not error.retryable:
                        raise
                    run.fail(question, error)
                else:
                    if out is not None:
                        append_jsonl(out, [trace])
                    run.finish(question, trace)
                run.tell()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(questions) - len(run.rows))):
                    group.create_task(work(waiting))
        except ExceptionGroup as errors:
            # The first error says what went wrong; the others are its like.
            raise errors.exceptions[0] from None
    # Traces know the settings as used: greedy, say, sets the width to 1 and asks no judge.
    example = run.example
    return summarise(
        run.rows,
        strategy=name if example is None else example.strategy,
        judge=judge_name if example is None else example.judge,
        seed=settings.seed,
        settings=record if example is None else example.settings,
        wall=time.perf_counter() - started,
        resumed=sum(question.id in finished for question in questions),
        failed=run.failed,
        versions=versions,
    )


@dataclass
class _Run:
    total: int
    progress: Callable[[Progress], None] | None
    score: Callable[[Question, Trace], Row]
    right: Right | None = None
    rows: list[Row] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    example: Trace | None = None

    def finish(self, question: Question, trace: Trace) -> None:
        self.example = self.example or trace
        self.rows.append(self.score(question, trace))
        told = self.rows[-1].correct if self.right is None else self.right(question, trace)
        if told is not None:
            self.told.append(told)

    def fail(self, question: Question, error: StepsightError) -> None:
        self.failed[question.id] = str(error)

    def tell(self) -> None:
        if self.progress is not None:
            done = Progress(len(self.rows), self.total, len(self.failed), len(self.told), sum(self.told))
            self.progress(done)


def run_card(strategy: str, judge: Judge | None, engine: Engine, settings: SearchSettings) -> dict[str, object]:
    """What run a file of traces belongs to."""
    return {
        "strategy": strategy,
        "judge": None if judge is None else judge.name,
        "seed": settings.seed,
        "settings": settings_record(engine, settings),
    }


def resume(out: Path | None, card: dict[str, object], questions: Sequence[Question]) -> dict[str, Trace]:
    """What `out` holds of this run already, by question id; starts the file's card if there is none.

    Raises:
        InputError: `out` belongs to another run, or answers another question under one of the ids.
    """
    if out is None:
        return {}
    card_path = out.with_name(f"{out.name}.run.json")
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(card_path) as stream:
            stream.write(json.dumps(card, indent=2).encode() + b"\n")
        return {}
    _check_card(out, card_path, card)

    sifted = sift_jsonl(out, Trace)
    if sifted.faults:
        # A line torn by the interruption: keep the file as it was for those who look, and go on with a sound one.
        shutil.copyfile(out, out.with_name(f"{out.name}.torn"))
        write_jsonl(out, sifted.rows)
    finished = {trace.question.id: trace for trace in sifted.rows}
    for question in questions:
        if question.id in finished and _asked(finished[question.id].question) != _asked(question):
            raise InputError(
                f"{out} answers another question under the id {question.id}", hint="choose another file for this run"
            )
    return finished


def _check_card(out: Path, card_path: Path, card: dict[str, object]) -> None:
    try:
        held = json.loads(card_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"{out} exists, and nothing beside it says what run it belongs to ({card_path.name} cannot be read)",
            hint="choose another file",
        ) from None
    differing = [key for key in card if not isinstance(held, dict) or held.get(key) != card[key]]
    if differing:
        raise InputError(
            f"{out} belongs to a run with other {', '.join(differing)}", hint="choose another file for this run"
        )


def _asked(question: Question) -> tuple[object, ...]:
    """What makes it the same question; pictures may have moved to another folder."""
    return (question.text, question.choices, question.answer, tuple(path.name for path in question.images))
