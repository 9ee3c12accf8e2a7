"""Tables of scores as kits write them, held against ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepsight.evaluation.bridge.results import KitScore
from stepsight.evaluation.scoring.generations import GENERATIONS
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.scoring.tables import NO_SPLIT
from stepsight.evaluation.suites.predictions import Prediction
from stepsight.evaluation.suites.rules import Settings
from stepsight.evaluation.suites.scores import overall, score_by_rules
from stepsight.evaluation.suites.suite import Suite

_SAME = 1e-6
"""Percent that two scores may differ by and be the same: tables are written in decimals."""

_NAMES = ("Task&Skill", "Category")
"""The column of names in the tables of MathVista and of MM-Vet."""


@dataclass(frozen=True)
class Compared:
    """A kit's scores with ours beside them; `overall` is the measure of all questions by our rules."""

    scores: tuple[KitScore, ...]
    overall: Measure | None
    generation: str
    agrees: bool | None
    notice: str


def percent(share: float) -> float:
    """A share in percent."""
    return 100 * float(share)


def csv_scores(rows: Sequence[Mapping[str, str]], *, shares: bool) -> tuple[KitScore, ...]:
    """The scores in a table of VLMEvalKit's, whatever of its four forms it has.

    Args:
        rows: as `csv.DictReader` gives them.
        shares: whether the numbers are shares; otherwise they are percent.
    """
    found = []
    for row in rows:
        named = next((row[column] for column in _NAMES if column in row), None)
        if named is not None:
            cells = [(named, "acc", NO_SPLIT, row.get("acc", ""))]
        elif {"aAcc", "fAcc", "qAcc"} <= row.keys():
            # Here the column `split` holds the names of groups.
            cells = [(row["split"], metric, NO_SPLIT, row[metric]) for metric in ("aAcc", "fAcc", "qAcc")]
        else:
            split = row.get("split", NO_SPLIT)
            cells = [(name, "acc", split, text) for name, text in row.items() if name not in ("split", "")]
        for name, metric, split, text in cells:
            if (value := _number(text)) is not None:
                found.append(KitScore(name=name, metric=metric, split=split, value=percent(value) if shares else value))
    return tuple(found)


def with_ours(suite: Suite, predictions: Sequence[Prediction], scores: Sequence[KitScore], *, exact: bool) -> Compared:
    """Score a kit's answers by our rules, and put that beside its scores.

    Of the generations of the rules the newest is taken by which every score is the same; if there is none, the newest.

    Args:
        suite: the benchmark.
        predictions: the kit's answers.
        scores: what the kit made of them.
        exact: whether the kit had no judge, so that its scores and our exact ones must be the same.
    """
    tries = []
    for generation in reversed(GENERATIONS):
        result = score_by_rules(suite, predictions, Settings(generation=generation)).whole
        if not exact or result.exact is None:
            return Compared(tuple(scores), overall(result.groups), generation, None, "")
        ours = {
            (group.name, group.metric, group.split): percent(group.measure.value)
            for group in result.exact
            if group.measure.value is not None
        }
        beside = tuple(
            score.model_copy(update={"ours": ours.get((score.name, score.metric, score.split))}) for score in scores
        )
        both = [score for score in beside if score.ours is not None]
        agrees = all(abs(score.value - score.ours) < _SAME for score in both if score.ours is not None)
        tries.append(Compared(beside, overall(result.exact), generation, agrees if both else None, ""))
        if tries[-1].agrees:
            older = "" if generation == GENERATIONS[-1] else f"the kit scores by the rules of {generation}"
            return Compared(beside, tries[-1].overall, generation, True, older)
    first = tries[0]
    unlike = [score for score in first.scores if score.ours is not None and abs(score.value - score.ours) >= _SAME]
    told = ", ".join(f"{score.name} {score.value:.2f} here {score.ours:.2f}" for score in unlike[:3])
    more = f" and {len(unlike) - 3} more" if len(unlike) > 3 else ""
    return Compared(
        first.scores,
        first.overall,
        first.generation,
        first.agrees,
        f"the kit's scores are not those of our rules over its own answers: {told}{more}" if unlike else "",
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if value == value else None
