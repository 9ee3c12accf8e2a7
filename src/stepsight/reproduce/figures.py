"""The figures of a comparison, and what is said of them by rule."""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.data.ablations import Form
from stepsight.evaluation.statistics import Share, Span
from stepsight.records import Record
from stepsight.reproduce.parts import PartFigures
from stepsight.study.results import StudyResult

ALL, MULTI, SINGLE = "all", "multi-step", "single-step"
"""Groups of questions; besides, each family is one."""


class Told(Record):
    """Whether `above` is more accurate than `below`: the paired difference over all seeds, and that of each pair of
    them.

    An interval over questions knows nothing of how much another seed of training would have changed; so a difference is
    told only if it also has the same sign for every seed of the one against every seed of the other (of searches: with
    the model of every seed). `paper` is the paper's difference in points, if it has one, and `where` says where it
    stands.
    """

    above: str
    below: str
    difference: Span
    by_seed: tuple[float, ...]
    paper: float | None = None
    where: str = ""

    @property
    def verdict(self) -> str:
        """What the interval and the seeds say, in words."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "nothing to tell it by"
        if low > 0:
            return "above" if min(self.by_seed) > 0 else "above, but not for every seed"
        if high < 0:
            return "below" if max(self.by_seed) < 0 else "below, but not for every seed"
        return "not told apart"

    @property
    def repeats(self) -> str:
        """Whether the paper's pattern is ours, in words."""
        if self.paper is None:
            return "the paper does not compare them"
        ours = {"above": 1, "below": -1}.get(self.verdict)
        if ours is None:
            return f"not shown either way ({self.verdict})"
        return "repeats" if ours * self.paper > 0 else "does not repeat: it is the other way round"


class ArmFigures(Record):
    """One arm on one group of questions: accuracy over all seeds, that of each, cost, and truth of stages."""

    name: str
    accuracy: Span
    by_seed: tuple[float, ...]
    tokens: float
    captions: Span | None = None
    reasonings: Span | None = None


class GroupFigures(Record):
    """Questions of one kind: all, those of multi-step families, or those of one family."""

    name: str
    questions: int
    arms: tuple[ArmFigures, ...]
    told: tuple[Told, ...]


class SetFigures(Record):
    """A set of questions, and by arm, all seeds together:

    unreadable: the share of answers that could not be found in what was written.
    forms: where a form may be kept or not, how often it is: of answers in any order `orders.ORDERS`, of those without
        tags `paragraphs.PARAGRAPHS`; only kinds that occur, as in `grounds`.
    grounds: of answers that are stages in order, with tags or not, `grounds.GROUNDS`.
    """

    name: str
    described: str
    left_out: int
    groups: tuple[GroupFigures, ...]
    unreadable: Mapping[str, Share]
    forms: Mapping[str, tuple[PartFigures, ...]]
    grounds: Mapping[str, tuple[PartFigures, ...]]

    def group(self, name: str) -> GroupFigures | None:
        """The group of that name, if it has questions."""
        return next((group for group in self.groups if group.name == name), None)


class Training(Record):
    """What training an arm took, on average over seeds: steps of so many rows, seconds, and the last loss logged."""

    name: str
    form: Form
    steps: int
    batch: int
    seconds: float | None
    loss: float | None


class SearchFigures(Record):
    """Searches with the models of one arm, a model for each seed; by search, the figures of each of `grounds.GROUNDS`
    that occurs, all seeds together.
    """

    arm: str
    described: str
    study: StudyResult
    told: tuple[Told, ...]
    grounds: Mapping[str, tuple[PartFigures, ...]]


class ReproduceResult(Record):
    """All figures of a comparison."""

    seeds: tuple[int, ...]
    beside: str
    training: tuple[Training, ...]
    sets: tuple[SetFigures, ...]
    searches: SearchFigures | None
    versions: Mapping[str, str]
