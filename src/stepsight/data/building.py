"""Teach many questions at once, through a ledger, so that a run that was killed goes on where it was.

    lesson -> begun in the ledger -> taught (each reply committed first) -> settled in the ledger
    all settled or not: `write_rows` makes train.jsonl and rejects.jsonl of the ledger, each whole or not at all

Nothing grows with the number of questions but the file.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.leasing import WorkerLostError
from stepsight.data.ledger import Ledger
from stepsight.data.ledger_tables import Settled
from stepsight.data.lessons import Lesson
from stepsight.data.prices import CapReachedError, Prices, Purse
from stepsight.data.reasons import Reason, Rejection
from stepsight.data.recording import RecordingEngine
from stepsight.data.staged_rows import TRAIN
from stepsight.data.teaching import Taught, check_grammar, teach
from stepsight.errors import EngineError, InputError, PictureError, TooLongError
from stepsight.files import whole_file
from stepsight.protocols import Engine

REJECTS = "rejects.jsonl"
_LEASES = 3
"""So often a question is taken up in one start if workers are lost over it; it may be the reason why they are."""

Ending = Literal["done", "stopped", "dollars"]
"""All questions had their turn; somebody stopped it; the next request might have cost more than was left."""


@dataclass
class Progress:
    """Questions settled in this start, by what became of them; `resumed` were settled before. Amounts: picodollars.

    `asked` counts requests to the teacher and judge, `recalled` those that the ledger answered instead.
    """

    kept: int = 0
    rejected: int = 0
    failed: int = 0
    resumed: int = 0
    asked: int = 0
    recalled: int = 0
    spent: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """All that had their turn."""
        return self.kept + self.rejected + self.failed + self.resumed


@dataclass(frozen=True)
class Built:
    """How a start of a build ended. `first_failure` is what the engine said of the first question it failed on."""

    ending: Ending
    progress: Progress
    first_failure: str = ""
    why: str = ""


async def build(
    lessons: Iterable[Lesson],
    engine: Engine,
    recipe: BuildRecipe,
    ledger: Ledger,
    *,
    max_dollars: int | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Built:
    """Teach all `lessons` that the ledger does not hold as settled.

    A question on which the engine fails for a passing reason is left for the next start; one whose picture is
    unreadable, or that is too long, is rejected; any other error stops the run, and all that was received stays.

    Args:
        lessons: read as they are needed, each at its place.
        engine: the teacher, and the judge if the recipe has one.
        recipe: how.
        ledger: opened with the recipe's card.
        max_dollars: the most that may ever be spent through this ledger, in picodollars; None: no limit.
        stop: once set, no further question is begun; those under way are finished.
        progress: called after every question.

    Raises:
        InputError: a cap without prices; two questions with one id; a question that changed since an earlier start.
        CapabilityError: the recipe wants a grammar, and the engine has none.
        StepsightError: the engine failed for good.
    """
    if max_dollars is not None and recipe.prices.free:
        raise InputError(
            "a cap on dollars needs prices", hint="give --price-in and --price-out, or `prices` in the recipe"
        )
    check_grammar(engine, recipe.teaching)
    run = _Run(engine, recipe, ledger, Purse(max_dollars, ledger.spent()), progress)
    waiting = iter(lessons)

    async def work() -> None:
        for lesson in waiting:
            if run.ending != "done" or (stop is not None and stop.is_set()):
                return run.end("stopped")
            await run.take(lesson)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(recipe.window):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        # The first error says what went wrong; the others are its like.
        raise errors.exceptions[0] from None
    run.tell()
    return Built(run.ending, run.progress, run.first_failure, run.why)


class _Run:
    def __init__(
        self,
        engine: Engine,
        recipe: BuildRecipe,
        ledger: Ledger,
        purse: Purse,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.engine, self.recipe, self.ledger, self.purse = engine, recipe, ledger, purse
        self.progress = Progress(spent=purse.spent)
        self.ending: Ending = "done"
        self.first_failure = self.why = ""
        self._told = progress
        self._started = time.perf_counter()

    def end(self, ending: Ending, why: str = "") -> None:
        """Note the first reason to end early."""
        if self.ending == "done":
            self.ending, self.why = ending, why

    async def take(self, lesson: Lesson) -> None:
        """Bring one question to its end."""
        id, now = lesson.question.id, self.progress
        if self.ledger.begin(lesson) in ("kept", "rejected"):
            now.resumed += 1
            # Many in a row are passed over; others want their turn too.
            return await asyncio.sleep(0)
        teacher = self._recording(id, "teacher", self.recipe.prices)
        judge = self._recording(id, "judge", self.recipe.prices) if self.recipe.judge == "teacher" else None
        try:
            taught = await self._taught(lesson, teacher, judge)
        except PictureError as error:
            taught = Taught("", Rejection(Reason.PICTURE, str(error)), 0)
        except TooLongError as error:
            taught = Taught("", Rejection(Reason.TOO_LONG, str(error)), 0)
        except CapReachedError as error:
            # The question stays open: what it was answered so far is in the ledger.
            return self.end("dollars", str(error))
        except EngineError as error:
            if not error.retryable:
                raise
            self.ledger.fail(id, str(error))
            self.first_failure = self.first_failure or str(error)
            now.failed += 1
            return self.tell()
        finally:
            now.asked += teacher.asked + (judge.asked if judge else 0)
            now.recalled += teacher.recalled + (judge.recalled if judge else 0)
        self.ledger.settle(id, taught)
        if taught.kept:
            now.kept += 1
        else:
            now.rejected += 1
        return self.tell()

    async def _taught(self, lesson: Lesson, teacher: Engine, judge: Engine | None) -> Taught:
        """A lesson taught; again if the worker that was asked is lost, and then from what the ledger holds."""
        settings, filters = self.recipe.teaching, self.recipe.filters
        for _ in range(_LEASES - 1):
            with suppress(WorkerLostError):
                return await teach(lesson, teacher, settings, filters, judge=judge)
        return await teach(lesson, teacher, settings, filters, judge=judge)

    def _recording(self, question: str, role: str, prices: Prices) -> RecordingEngine:
        return RecordingEngine(self.engine, self.ledger, self.purse, prices, question, role)

    def tell(self) -> None:
        self.progress.spent = self.purse.spent
        self.progress.seconds = time.perf_counter() - self._started
        if self._told is not None:
            self._told(self.progress)


def write_rows(ledger: Ledger, folder: Path) -> tuple[int, int]:
    """Make `train.jsonl` and `rejects.jsonl` of all that is settled; returns how many rows each has.

    The first has the form of LLaVA-CoT-100k: `id`, `image` (left out where there is none), `conversations` of human and
    gpt turns. Turns that were rejected are left out, as in the paper. The same ledger gives the same bytes.
    """
    kept = _write(folder / TRAIN, _train_rows(ledger.settled("kept")))
    return kept, _write(folder / REJECTS, map(_reject_row, ledger.settled("rejected")))


def _train_rows(turns: Iterator[Settled]) -> Iterator[dict[str, Any]]:
    for row, group in groupby(turns, key=lambda turn: turn.row):
        members = list(group)
        said = [
            {"from": who, "value": text}
            for turn in members
            for who, text in (("human", turn.human), ("gpt", turn.text))
        ]
        image = {"image": members[0].image} if members[0].image else {}
        yield {"id": row, **image, "conversations": said}


def _reject_row(turn: Settled) -> dict[str, Any]:
    return {
        "id": turn.id,
        "source": turn.source,
        "image": turn.image,
        "question": turn.human,
        "answer": turn.answer,
        "reason": turn.reason,
        "detail": turn.detail,
        "text": turn.text,
    }


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with whole_file(path) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            count += 1
    return count
