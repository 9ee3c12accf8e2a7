"""What came of a comparison: accuracy of every arm, paired differences with intervals, and whether seeds agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepsight.data.ablations import Form
from stepsight.evaluation import EvaluationReport
from stepsight.evaluation.report import installed_versions
from stepsight.evaluation.statistics import share_of
from stepsight.recipes import load_recipe
from stepsight.reproduce.figures import (
    ALL,
    MULTI,
    SINGLE,
    ArmFigures,
    GroupFigures,
    ReproduceResult,
    SearchFigures,
    SetFigures,
    Told,
    Training,
)
from stepsight.reproduce.kinds import FORM_KEPT, GROUNDS_OF, Kinds
from stepsight.reproduce.paper import FORMS, SEARCHES, PaperPair, paper_pair
from stepsight.reproduce.parts import PartFigures, kinds_of, parted
from stepsight.reproduce.recipe import ReproduceRecipe, Searches
from stepsight.reproduce.run import REPORT
from stepsight.reproduce.training import Places, run_name
from stepsight.study.opening import read_reports
from stepsight.study.recipe import Claim
from stepsight.study.results import StudyResult, results
from stepsight.study.run import traces_of
from stepsight.tracefiles import TRACES, sift_traces
from stepsight.training.recipe.train import TrainRecipe
from stepsight.world.questions import MULTI_STEP

Reports = Mapping[str, Sequence[EvaluationReport]]
"""By arm, one report for each seed."""


def gather(recipe: ReproduceRecipe, places: Places) -> ReproduceResult:
    """The result, from the reports of all pieces, which must be done."""
    sets = []
    for wanted in recipe.sets:
        reports = {
            arm.called: [_report(places.answers(run_name(arm, seed), wanted.name)) for seed in recipe.seeds]
            for arm in recipe.arms
        }
        sets.append(_set(recipe, places, wanted.name, wanted.described, reports))
    return ReproduceResult(
        seeds=tuple(recipe.seeds),
        beside=recipe.beside,
        training=tuple(_training(recipe, places)),
        sets=tuple(sets),
        searches=_searches(recipe, recipe.searches, places) if recipe.searches else None,
        versions=installed_versions(),
    )


def _report(folder: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json((folder / REPORT).read_bytes())


def _parts(places: Places, runs: Sequence[str], name: str, kinds: Kinds) -> tuple[PartFigures, ...]:
    folders = [places.answers(run, name) for run in runs]
    return _parted([(folder / TRACES, _report(folder)) for folder in folders], kinds)


def _parted(answers: Sequence[tuple[Path, EvaluationReport]], kinds: Kinds) -> tuple[PartFigures, ...]:
    """Files of traces with the reports of them, parted together."""
    found = []
    for traces, report in answers:
        right = {row.id: row.correct for row in report.rows if row.correct is not None}
        found += kinds_of(sift_traces(traces).rows, right, kinds.of)
    return parted(found, kinds.all)


def _set(recipe: ReproduceRecipe, places: Places, name: str, described: str, reports: Reports) -> SetFigures:
    runs = {arm.called: [run_name(arm, seed) for seed in recipe.seeds] for arm in recipe.arms}
    forms = {arm.called: arm.form for arm in recipe.arms}
    pairs = [
        (Claim(above=one, below=other), pair)
        for one, form in forms.items()
        for other, below in forms.items()
        if (pair := paper_pair(FORMS, form, below))
    ]
    families = sorted({row.family for one in reports.values() for report in one for row in report.rows})
    multi: set[str] = set(MULTI_STEP)
    kinds = {ALL: set(families), MULTI: multi & set(families), SINGLE: set(families) - multi}
    kinds |= {family: {family} for family in families}
    claims = [claim for claim, _ in pairs]
    groups, left_out = [], 0
    for kind, wanted in kinds.items():
        of_kind = _only(reports, wanted)
        found = results(of_kind, seeds=recipe.seeds, claims=claims)
        if kind == ALL:
            left_out = found.left_out
        if found.questions:
            groups.append(_group(kind, found, of_kind, pairs))
    return SetFigures(
        name=name,
        described=described,
        left_out=left_out,
        groups=tuple(groups),
        unreadable={
            arm: share_of([not row.valid for report in one for row in report.rows]) for arm, one in reports.items()
        },
        forms={
            arm: _parts(places, runs[arm], name, FORM_KEPT[form]) for arm, form in forms.items() if form in FORM_KEPT
        },
        grounds={
            arm: _parts(places, runs[arm], name, GROUNDS_OF[form]) for arm, form in forms.items() if form in GROUNDS_OF
        },
    )


def _only(reports: Reports, families: set[str]) -> Reports:
    return {
        arm: [
            report.model_copy(update={"rows": tuple(row for row in report.rows if row.family in families)})
            for report in one
        ]
        for arm, one in reports.items()
    }


def _group(
    name: str, found: StudyResult, reports: Reports, pairs: Sequence[tuple[Claim, PaperPair | None]]
) -> GroupFigures:
    return GroupFigures(
        name=name,
        questions=found.questions,
        arms=tuple(
            ArmFigures(
                name=arm.name,
                accuracy=arm.accuracy,
                by_seed=tuple(_accuracy(report) for report in reports[arm.name]),
                tokens=arm.tokens,
                captions=arm.captions,
                reasonings=arm.reasonings,
            )
            for arm in found.arms
        ),
        told=_told(found, reports, pairs),
    )


def _told(
    found: StudyResult, reports: Reports, pairs: Sequence[tuple[Claim, PaperPair | None]], *, same_model: bool = False
) -> tuple[Told, ...]:
    return tuple(
        Told(
            above=claim.above,
            below=claim.below,
            difference=claim.difference,
            by_seed=tuple(
                _accuracy(one) - _accuracy(other)
                for place, one in enumerate(reports[claim.above])
                for beside, other in enumerate(reports[claim.below])
                if place == beside or not same_model
            ),
            paper=pair.points if pair else None,
            where=pair.where if pair else "",
        )
        for claim, (_, pair) in zip(found.claims, pairs, strict=True)
    )


def _accuracy(report: EvaluationReport) -> float:
    told = [bool(row.correct) for row in report.rows if row.correct is not None]
    return sum(told) / len(told) if told else 0.0


def _training(recipe: ReproduceRecipe, places: Places) -> list[Training]:
    found = []
    for arm in recipe.arms:
        runs = [run_name(arm, seed) for seed in recipe.seeds]
        how = load_recipe(places.train_recipe(runs[0]), TrainRecipe).optimisation
        logs = [_last_lines(places.trained(run) / "log.jsonl") for run in runs]
        found.append(
            Training(
                name=arm.called,
                form=arm.form,
                steps=max((int(log.get("step", 0)) for log in logs), default=0),
                batch=how.batch,
                seconds=_mean([log.get("train_runtime") for log in logs]),
                loss=_mean([log.get("loss") for log in logs]),
            )
        )
    return found


def _last_lines(path: Path) -> dict[str, float]:
    """The last value of everything that a run logged."""
    last: dict[str, float] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            last.update(json.loads(line))
    return last


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _searches(recipe: ReproduceRecipe, wanted: Searches, places: Places) -> SearchFigures:
    by_seed = [read_reports(places.searched(seed)) for seed in recipe.seeds]
    arms = {arm.name: arm for arm in wanted.all_searches()}
    reports = {name: [one[name] for one in by_seed] for name in arms}
    pairs = [
        (claim, paper_pair(SEARCHES, arms[claim.above].search, arms[claim.below].search)) for claim in wanted.claims
    ]
    found = results(reports, seeds=recipe.seeds, claims=wanted.claims)
    grounds = {
        name: _parted(
            [
                (traces_of(places.searched(seed), arm, seed), one[name])
                for seed, one in zip(recipe.seeds, by_seed, strict=True)
            ],
            GROUNDS_OF[Form.STAGED],
        )
        for name, arm in arms.items()
    }
    chosen = recipe.set_called(wanted.questions)
    many = f"the first {wanted.count:,} of " if wanted.count else ""
    return SearchFigures(
        arm=wanted.arm,
        described=many + chosen.described,
        study=found,
        told=_told(found, reports, pairs, same_model=True),
        grounds=grounds,
    )
