"""A model that is opened for one piece of a long run, and the reports that it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepsight.evaluation import EvaluationReport
from stepsight.evaluation.report import Read, Truth, read_staged
from stepsight.files import whole_file
from stepsight.protocols import Engine, Judge
from stepsight.records import Question, Record
from stepsight.study.recipe import Arm, StudyRecipe
from stepsight.study.run import run_study
from stepsight.world.checker import check

REPORTS = "reports.json"


@dataclass(frozen=True)
class Opened:
    """A model that answers: its engine, its judges by name, and what lets go of it."""

    engine: Engine
    judge: Callable[[str], Judge]
    close: Callable[[], Awaitable[None]]

    def judge_of(self, arm: Arm) -> Judge | None:
        """The judge of an arm; None if it asks none."""
        return self.judge(arm.judge) if arm.judged else None


Open = Callable[[str, str], Opened]
"""Loads the model that a name stands for, with the reward model of that name; the default one if it is empty."""


@contextmanager
def opened(open_model: Open, name: str, reward: str = "") -> Iterator[tuple[Opened, asyncio.Runner]]:
    """A model and the event loop that it is used on, which is one for as long as the model is open."""
    with asyncio.Runner() as loop:
        model = open_model(name, reward)
        try:
            yield model, loop
        finally:
            loop.run(_awaited(model.close()))


async def _awaited(work: Awaitable[None]) -> None:
    await work


def truth_of(questions: Sequence[Question]) -> Truth | None:
    """The world's checker, where all questions are the world's."""
    return check if all("scene" in question.meta for question in questions) else None


def study_alone(
    loop: asyncio.Runner,
    model: Opened,
    study: StudyRecipe,
    questions: Sequence[Question],
    *,
    tell: Callable[[int], None],
    read: Read = read_staged,
) -> None:
    """Run a study of a single seed with an open model, and keep its reports in the study's folder.

    Args:
        loop: of the model.
        model: answers and judges.
        study: what to compare.
        questions: what all arms answer.
        tell: called with the number of answers there are so far, over all arms.
        read: takes answers apart.
    """
    counts: dict[str, int] = {}

    def progress(what: str, count: int) -> None:
        counts[what] = count
        tell(sum(counts.values()))

    truth = truth_of(questions)
    work = run_study(study, questions, model.engine, model.judge_of, truth=truth, read=read, progress=progress)
    write_reports(study.out, loop.run(work))


class _Reports(Record):
    by_arm: Mapping[str, EvaluationReport]


def write_reports(folder: Path, reports: Mapping[str, Sequence[EvaluationReport]]) -> None:
    """Keep what `run_study` gave for a single seed; `read_reports` gives it back by arm."""
    kept = _Reports(by_arm={name: one for name, (one,) in reports.items()})
    with whole_file(folder / REPORTS) as stream:
        stream.write(kept.model_dump_json(indent=2).encode() + b"\n")


def read_reports(folder: Path) -> Mapping[str, EvaluationReport]:
    """The reports that `write_reports` kept, by arm."""
    return _Reports.model_validate_json((folder / REPORTS).read_bytes()).by_arm
