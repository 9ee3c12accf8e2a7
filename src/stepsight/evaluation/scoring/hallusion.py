"""HallusionBench's three accuracies: of questions (aAcc), of figures (fAcc), of questions over all figures (qAcc).

A figure is right if every question about it is; a question over all figures is right if its answer is right for every
one. Parts 3, 4 and 5 of an index such as `VS_chart_1_13_0_1` say which set, figure and question a row belongs to.

Source: `Hallusion_rating` in vlmeval/dataset/utils/yorn.py of open-compass/VLMEvalKit. Its groups are named by the
column `l2-category`, the set and the figure; so where two families have the same one, as `ocr` has, their groups of
equal numbers are one, and that is kept. Intervals draw whole sets, in which figures and questions cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.errors import InputError
from stepsight.evaluation.scoring.circular import all_right
from stepsight.evaluation.scoring.measures import Unit, mean, mean_of_means
from stepsight.evaluation.scoring.tables import NO_SPLIT, OVERALL, Group

METRICS = ("aAcc", "fAcc", "qAcc")
AVERAGE = "average"
"""The mean of the three, by which leaderboards rank."""


@dataclass(frozen=True)
class Answered:
    """A row: its index, its two labels, and whether it is right (None: could not be scored)."""

    index: str
    category: str
    l2_category: str
    value: float | None


def accuracies(rows: Sequence[Answered]) -> tuple[Group, ...]:
    """The three accuracies and their average, of all rows, of each category and of each `l2-category`.

    Raises:
        InputError: an index has not six parts.
    """
    groups = list(_four("overall", OVERALL, rows))
    for name in sorted({row.category for row in rows}):
        groups += _four("category", name, [row for row in rows if row.category == name])
    for name in sorted({row.l2_category for row in rows}):
        groups += _four("l2-category", name, [row for row in rows if row.l2_category == name])
    return tuple(groups)


def set_of(index: str, l2_category: str) -> str:
    """What is resampled whole: the set, in the family by which groups are named.

    Raises:
        InputError: the index has not six parts.
    """
    return f"{l2_category}_{_parts(index)[0]}"


def _four(kind: str, name: str, rows: Sequence[Answered]) -> list[Group]:
    answers = [Unit(row.value, set_of(row.index, row.l2_category)) for row in rows]
    figures, questions = _grouped(rows, 1), _grouped(rows, 2)
    measures = [mean(answers), mean(figures), mean(questions), mean_of_means([answers, figures, questions])]
    return [
        Group(kind=kind, name=name, split=NO_SPLIT, metric=metric, measure=measure)
        for metric, measure in zip((*METRICS, AVERAGE), measures, strict=True)
    ]


def _grouped(rows: Sequence[Answered], part: int) -> list[Unit]:
    found: dict[str, tuple[str, list[float | None]]] = {}
    for row in rows:
        cluster = set_of(row.index, row.l2_category)
        _, values = found.setdefault(f"{cluster}_{_parts(row.index)[part]}", (cluster, []))
        values.append(row.value)
    return [Unit(all_right(values), cluster) for cluster, values in found.values()]


def _parts(index: str) -> tuple[str, str, str]:
    """Set, figure and question."""
    parts = index.split("_")
    if len(parts) < 6:
        raise InputError(
            f"the index {index!r} is none of HallusionBench",
            hint="it has the form category_subcategory_visual input_set_figure_question",
        )
    return parts[3], parts[4], parts[5]
