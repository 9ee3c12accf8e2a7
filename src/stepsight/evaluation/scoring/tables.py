"""Scores by group, in the groups that VLMEvalKit reports.

    overall -> "Overall", then the values of each kind of label in the order of the alphabet, for each value of the
    column `split` on its own (`none` where a file has no such column)

Source: `report_acc` in vlmeval/dataset/utils/multiple_choice.py of open-compass/VLMEvalKit. Where a file has several
splits it gives none for all of them together; here that one comes first, under the split `all`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stepsight.evaluation.scoring.measures import Measure, Unit, share
from stepsight.records import Record

OVERALL = "Overall"
NO_SPLIT = "none"
ALL_SPLITS = "all"

ABBREVIATIONS = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}
"""How VLMEvalKit calls MMBench's abilities in its tables."""


class Group(Record):
    """A score of some of the questions: of those whose label of `kind` is `name`, in one split, by one metric."""

    kind: str
    name: str
    split: str
    metric: str
    measure: Measure


@dataclass(frozen=True)
class Labelled:
    """A unit with the names it counts for, by kind of label; a unit may have several of a kind, or none."""

    unit: Unit
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str = NO_SPLIT


def table(
    rows: Sequence[Labelled],
    kinds: Sequence[str],
    *,
    measure: Callable[[Sequence[Unit]], Measure] = share,
    metric: str = "acc",
) -> tuple[Group, ...]:
    """The score of all rows and of each group, split by split."""
    splits = sorted({row.split for row in rows}) or [NO_SPLIT]
    if len(splits) > 1:
        splits = [ALL_SPLITS, *splits]
    groups: list[Group] = []
    for split in splits:
        members = [row for row in rows if split in (ALL_SPLITS, row.split)]
        groups.append(_group("overall", OVERALL, split, metric, members, measure))
        for kind in kinds:
            names = sorted({name for row in rows for name in row.labels.get(kind, ())})
            for name in names:
                chosen = [row for row in members if name in row.labels.get(kind, ())]
                if chosen:
                    groups.append(_group(kind, ABBREVIATIONS.get(name, name), split, metric, chosen, measure))
    return tuple(groups)


def _group(
    kind: str,
    name: str,
    split: str,
    metric: str,
    rows: Sequence[Labelled],
    measure: Callable[[Sequence[Unit]], Measure],
) -> Group:
    return Group(kind=kind, name=name, split=split, metric=metric, measure=measure([row.unit for row in rows]))
