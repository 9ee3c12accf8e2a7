"""What came of rejection-sampled fine-tuning: what was kept in each round, and every model held against the first."""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.data.manifest import read_manifest
from stepsight.data.staged_rows import TRAIN, StagedRow
from stepsight.evaluation import EvaluationReport, PairedDifference, Share, compare
from stepsight.evaluation.report import installed_versions
from stepsight.jsonl import scan_jsonl
from stepsight.records import Record
from stepsight.rejection.loop import Places
from stepsight.rejection.recipe import ImproveRecipe
from stepsight.study.opening import read_reports


class RoundFigures(Record):
    """What a round learned from: answers kept and left out (by reason), and rows in all, original ones included."""

    kept: int
    left_out: Mapping[str, int]
    rows: int


class ModelFigures(Record):
    """How a model answers a set, and how much more often it is right than the model of the start, pair by pair.

    `families` are the same differences by kind of question. Of the start's own model there are none.
    """

    accuracy: Share
    valid: Share
    captions: Share
    gain: PairedDifference | None
    families: Mapping[str, PairedDifference]


class SetFigures(Record):
    """A set of questions: by way of answering, the models of all rounds, that of the start first."""

    name: str
    described: str
    answered_by: Mapping[str, tuple[ModelFigures, ...]]


class ImproveResult(Record):
    """All figures of a run."""

    rounds: tuple[RoundFigures, ...]
    sets: tuple[SetFigures, ...]
    versions: Mapping[str, str]


def gather(recipe: ImproveRecipe, places: Places) -> ImproveResult:
    """The result, from what all pieces left, which must be done."""
    sets = []
    for wanted in recipe.sets:
        reports = [read_reports(places.answers(number, wanted.name)) for number in range(recipe.rounds + 1)]
        by_arm = {name: [one[name] for one in reports] for name in reports[0]}
        sets.append(
            SetFigures(
                name=wanted.name,
                described=wanted.described,
                answered_by={name: tuple(_models(one)) for name, one in by_arm.items()},
            )
        )
    rounds = tuple(_round(places, number) for number in range(1, recipe.rounds + 1))
    return ImproveResult(rounds=rounds, sets=tuple(sets), versions=installed_versions())


def _round(places: Places, number: int) -> RoundFigures:
    manifest = read_manifest(places.selected(number))
    assert manifest is not None
    rows = sum(1 for _ in scan_jsonl(places.rows(number) / TRAIN, StagedRow))
    return RoundFigures(kept=manifest.rows, left_out=manifest.set_aside, rows=rows)


def _models(reports: list[EvaluationReport]) -> list[ModelFigures]:
    first = reports[0]
    return [
        ModelFigures(
            accuracy=one.accuracy,
            valid=one.format_valid,
            captions=one.caption_true,
            gain=None if one is first else compare(one, first),
            families={} if one is first else _by_family(one, first),
        )
        for one in reports
    ]


def _by_family(one: EvaluationReport, first: EvaluationReport) -> dict[str, PairedDifference]:
    return {
        family: compare(_only(one, family), _only(first, family))
        for family in sorted({row.family for row in first.rows} & {row.family for row in one.rows})
    }


def _only(report: EvaluationReport, family: str) -> EvaluationReport:
    return report.model_copy(update={"rows": tuple(row for row in report.rows if row.family == family)})
