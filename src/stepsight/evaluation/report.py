"""What an evaluation says: one row per question, and their summary with intervals."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol

import pydantic
from pydantic import Field

from stepsight.conclusions import is_correct
from stepsight.errors import InputError
from stepsight.evaluation.statistics import PairedDifference, Share, paired_difference, share_of
from stepsight.records import Question, Record, Trace, Usage
from stepsight.stages import Parsed, Stage, parse


class TruthReport(Protocol):
    """What is known of a staged answer's stages; None where it cannot be said."""

    @property
    def caption(self) -> bool | None: ...

    @property
    def reasoning(self) -> bool | None: ...

    @property
    def conclusion(self) -> bool | None: ...


Truth = Callable[[Question, Mapping[Stage, str]], TruthReport]
"""Checks the stages of an answer against what is known of the picture."""

Read = Callable[[Trace], Parsed]
"""Takes apart what a search wrote; a fault is what makes the answer malformed."""


class Judging(Record):
    """How often the judge was asked, and how often it could not say."""

    calls: int = 0
    comparisons: int = 0
    ties: int = 0
    unreadable: int = 0

    def __add__(self, other: Judging) -> Judging:
        return Judging(
            calls=self.calls + other.calls,
            comparisons=self.comparisons + other.comparisons,
            ties=self.ties + other.ties,
            unreadable=self.unreadable + other.unreadable,
        )


class Row(Record):
    """One question's result.

    `correct` needs a well-formed answer whose CONCLUSION is right; `conclusion_correct` looks at the CONCLUSION alone,
    whatever else is wrong with the form. Both are None if the question has no known answer.
    """

    id: str
    family: str
    prediction: str | None
    correct: bool | None
    conclusion_correct: bool | None
    valid: bool
    faults: tuple[str, ...]
    caption_true: bool | None
    reasoning_true: bool | None
    usage: Usage
    judging: Judging
    seconds: float
    multiple_choice: bool = False


class UsageReport(Record):
    """Tokens of a whole run, and per question (None if there was none)."""

    total: Usage
    mean: Mapping[str, float] | None


class Seconds(Record):
    """Wall-clock time of this session, and the mean from first to last step of a question.

    Questions that run at the same time share the machine, so the mean is not wall time divided by questions.
    """

    wall: float
    mean: float | None


class EvaluationReport(Record):
    """The summary of a run; every share with its 95 % interval and its n.

    `accuracy` counts a malformed answer as wrong; `accuracy_any_format` takes any CONCLUSION that can be read.
    `asked_as` parts accuracy by whether there were options to choose from. `faults` counts answers by kind of fault.
    `failed` holds the questions without a result, and why; they are in no share. `resumed` questions came from an
    earlier session's file.
    """

    strategy: str
    judge: str | None
    seed: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    questions: int
    resumed: int
    failed: Mapping[str, str]
    accuracy: Share
    accuracy_any_format: Share
    format_valid: Share
    caption_true: Share
    reasoning_true: Share
    families: Mapping[str, Share]
    asked_as: Mapping[str, Share] = Field(default_factory=dict)
    faults: Mapping[str, int]
    usage: UsageReport
    judging: Judging
    seconds: Seconds
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """The report as indented JSON."""
        return self.model_dump_json(indent=2)


def read_staged(trace: Trace) -> Parsed:
    """Four stages with their tags, in their order."""
    return parse(trace.text)


def score(question: Question, trace: Trace, truth: Truth | None = None, read: Read = read_staged) -> Row:
    """Score one finished search by its CONCLUSION and, where `truth` is given, by its CAPTION and REASONING."""
    parsed = read(trace)
    prediction = parsed.stages.get(Stage.CONCLUSION)
    right = is_correct(question, prediction or "")
    known = truth(question, parsed.stages) if truth is not None else None
    return Row(
        id=question.id,
        family=str(question.meta.get("family") or question.source or "all"),
        prediction=prediction,
        correct=None if right is None else right and parsed.valid,
        conclusion_correct=None if right is None else right and prediction is not None,
        valid=parsed.valid,
        faults=tuple(sorted({fault.kind.value for fault in parsed.faults})),
        caption_true=known.caption if known is not None else None,
        reasoning_true=known.reasoning if known is not None else None,
        usage=trace.usage,
        judging=Judging(
            calls=sum(verdict.calls for verdict in trace.verdicts),
            comparisons=sum(len(verdict.comparisons) for verdict in trace.verdicts),
            ties=sum(verdict.ties for verdict in trace.verdicts),
            unreadable=sum(verdict.unreadable for verdict in trace.verdicts),
        ),
        seconds=trace.seconds,
        multiple_choice=bool(question.choices),
    )


def summarise(
    rows: Sequence[Row],
    *,
    strategy: str,
    judge: str | None,
    seed: int,
    settings: Mapping[str, Any],
    wall: float,
    resumed: int = 0,
    failed: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> EvaluationReport:
    """Sum up rows; their order does not matter."""
    failed = failed or {}
    rows = sorted(rows, key=lambda row: row.id)
    total = sum((row.usage for row in rows), Usage())
    families = sorted({row.family for row in rows})
    return EvaluationReport(
        strategy=strategy,
        judge=judge,
        seed=seed,
        settings=settings,
        versions={**installed_versions(), **(versions or {})},
        questions=len(rows) + len(failed),
        resumed=resumed,
        failed=dict(sorted(failed.items())),
        accuracy=share_of([row.correct for row in rows]),
        accuracy_any_format=share_of([row.conclusion_correct for row in rows]),
        format_valid=share_of([row.valid for row in rows]),
        caption_true=share_of([row.caption_true for row in rows]),
        reasoning_true=share_of([row.reasoning_true for row in rows]),
        families={name: share_of([row.correct for row in rows if row.family == name]) for name in families},
        asked_as={
            name: share_of([row.correct for row in rows if row.multiple_choice == choice])
            for name, choice in (("free answer", False), ("multiple choice", True))
        },
        faults=dict(sorted(Counter(fault for row in rows for fault in row.faults).items())),
        usage=UsageReport(
            total=total,
            mean={name: count / len(rows) for name, count in total.model_dump().items()} if rows else None,
        ),
        judging=sum((row.judging for row in rows), Judging()),
        seconds=Seconds(wall=wall, mean=sum(row.seconds for row in rows) / len(rows) if rows else None),
        rows=tuple(rows),
    )


def compare(first: EvaluationReport, second: EvaluationReport) -> PairedDifference:
    """The paired difference in accuracy, over the questions that both runs scored.

    Raises:
        InputError: they share no scored question.
    """
    others = {row.id: row.correct for row in second.rows}
    pairs = [
        (row.correct, other)
        for row in first.rows
        if row.correct is not None and (other := others.get(row.id)) is not None
    ]
    if not pairs:
        raise InputError("the two reports share no scored question", hint="compare runs over the same questions")
    return paired_difference([one for one, _ in pairs], [other for _, other in pairs])


def installed_versions() -> dict[str, str]:
    """The versions a result depends on; of packages that not every installation has, only where they are installed."""
    versions = {"python": platform.python_version(), "pydantic": pydantic.VERSION}
    for package in ("stepsight", "numpy", "pillow", "torch", "transformers", "tokenizers", "safetensors"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
