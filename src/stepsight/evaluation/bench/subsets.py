"""The paper's reasoning subsets (LLaVA-CoT, arXiv 2411.10440v6, Table 5), and means over scores of unlike things.

MMStar-R     mean of instance reasoning, logical reasoning, math, science & technology
MMBench-R    mean of attribute, logical and relation reasoning
MMVet-R      mean of spatial awareness and math
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stepsight.evaluation.scoring.measures import Measure, Unit, mean_of_means
from stepsight.evaluation.scoring.mmvet import capabilities_of
from stepsight.evaluation.scoring.tables import ALL_SPLITS, Group
from stepsight.evaluation.suites.scores import Result
from stepsight.evaluation.suites.suite import Suite

SUBSET = "subset"
ACCURACY = "acc"
EXACT = "exact"
"""The metric of a subset where what could not be scored is wrong (`Result.exact`)."""
_DISJOINT = {
    "MMStar": ("MMStar-R", "category", ("instance reasoning", "logical reasoning", "math", "science & technology")),
    "MMBench_DEV_EN_V11": ("MMBench-R", "l2-category", ("AR", "LR", "RR")),
}
_MMVET = ("spat", "math")


def subsets_of(suite: Suite, result: Result) -> tuple[Group, ...]:
    """The reasoning subset of a benchmark that the paper takes but a part of; nothing of any other."""
    if suite.name == "MMVet":
        units = [
            [
                Unit(reading.hit, cluster=reading.index)
                for line, reading in zip(suite.lines, result.readings, strict=True)
                if capability in capabilities_of(line.text("category"))
            ]
            for capability in _MMVET
        ]
        return (_group("MMVet-R", mean_of_means(units)),)
    if suite.name not in _DISJOINT:
        return ()
    name, kind, parts = _DISJOINT[suite.name]
    found = []
    for metric, groups in ((ACCURACY, result.groups), (EXACT, result.exact)):
        if groups is not None:
            splits = {group.split for group in groups if group.kind == "overall"}
            split = ALL_SPLITS if ALL_SPLITS in splits else next(iter(splits))
            known = {group.name: group.measure for group in groups if (group.kind, group.split) == (kind, split)}
            found.append(_group(name, mean_of_measures([known.get(part) for part in parts]), metric))
    return tuple(found)


def mean_of_measures(measures: Sequence[Measure | None]) -> Measure | None:
    """The mean of scores of different questions, with an interval joined from theirs; None unless all are there.

    The interval is that of Zou and Donner (2008), who recover variances from limits as Newcombe does for a difference:
    exact neither, but it keeps what each interval knows of its own skew.
    """
    known = [
        (one.value, one.low, one.high)
        for one in measures
        if one is not None and one.value is not None and one.low is not None and one.high is not None
    ]
    if len(known) < len(measures) or not known:
        return None
    value = sum(one for one, _, _ in known) / len(known)
    down = math.sqrt(sum((one - low) ** 2 for one, low, _ in known)) / len(known)
    up = math.sqrt(sum((high - one) ** 2 for one, _, high in known)) / len(known)
    told = [one for one in measures if one is not None]
    return Measure(
        value=value,
        low=value - down,
        high=value + up,
        n=sum(one.n for one in told),
        unscored=sum(one.unscored for one in told),
        method="joined",
    )


def _group(name: str, measure: Measure | None, metric: str = ACCURACY) -> Group:
    none = Measure(value=None, low=None, high=None, n=0, unscored=0, method="joined")
    return Group(kind=SUBSET, name=name, split=ALL_SPLITS, metric=metric, measure=measure or none)
