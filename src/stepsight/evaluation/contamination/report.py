"""What is found when a benchmark is held against training sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from stepsight.data.likeness import CORRELATION, DISTANCE
from stepsight.data.text_likeness import RUN, SHARE
from stepsight.evaluation.scoring.measures import Measure
from stepsight.evaluation.suites.places import DataFile
from stepsight.evaluation.suites.predictions import Which
from stepsight.records import Record

Kind = Literal["picture", "text", "both"]
Without = Literal["picture", "text", "both", "any"]
WITHOUT: tuple[Without, ...] = ("picture", "text", "both", "any")


class Row(Record):
    """A row of a training set: its file, its line there and its id."""

    file: Path
    line: int
    id: str


class Seen(Record):
    """A question of the benchmark that a training set has seen.

    `picture_row` and `text_row` are the first rows with such a picture and such a text, one and the same if `kind` is
    both. Where only different rows have them, `kind` is picture. `rows` counts all rows that are alike in any way;
    `shared` is the share of the question's words that `said`, the beginning of the row's question, has in runs of
    three.
    """

    index: str
    kind: Kind
    picture_row: Row | None = None
    picture: str = ""
    text_row: Row | None = None
    said: str = ""
    shared: float | None = None
    rows: int


class TrainingSet(Record):
    """What was compared of a training set: `unread` rows are malformed, `unseen` pictures cannot be used.

    Pictures of one colour look like nothing; they count as compared.
    """

    file: Path
    sha256: str
    rows: int
    unread: int
    pictures: int
    unseen: int


class Parted(Record):
    """One score, of all questions, of those that are left, and of those that are left out."""

    which: Which
    exact: bool
    all: Measure
    kept: Measure
    left_out: Measure


class ScoreWithout(Record):
    """Scores without the questions that are alike in one way.

    questions: so many are alike. left_out: with those that are scored together with them.
    """

    without: Without
    questions: int
    left_out: int
    scores: tuple[Parted, ...]


class Contamination(Record):
    """A benchmark held against training sets.

    `unseen` says which pictures of the benchmark could not be compared. The next four are what "alike" means: the bits
    of perceptual hashes that may differ, the correlation of the pictures at 16 x 16, the length of runs of words and
    the share of them.
    """

    dataset: str
    file: DataFile
    questions: int
    unseen: tuple[str, ...]
    distance: int = DISTANCE
    correlation: float = CORRELATION
    run: int = RUN
    share: float = SHARE
    train: tuple[TrainingSet, ...]
    seen: tuple[Seen, ...]
    scores: tuple[ScoreWithout, ...] = ()

    def of(self, without: Without) -> frozenset[str]:
        """The indices of the questions that are alike in one way."""
        return frozenset(
            one.index
            for one in self.seen
            if without == "any"
            or (without == "picture" and one.picture_row is not None)
            or (without == "text" and one.text_row is not None)
            or without == one.kind
        )


def headline(report: Contamination) -> Iterator[str]:
    """The report in a few lines of plain text."""
    for one in report.train:
        lost = f", {one.unread:,} rows and {one.unseen:,} pictures could not be read" if one.unread + one.unseen else ""
        yield f"{report.dataset} against {one.file}: {one.rows:,} rows, {one.pictures:,} pictures{lost}"
    if report.unseen:
        yield f"{len(report.unseen):,} of the benchmark's pictures could not be compared; the first: {report.unseen[0]}"
    for without in WITHOUT:
        count, all_of_them = len(report.of(without)), report.questions
        yield f"{count:>7,} of {all_of_them:,} questions alike by {without} ({count / max(1, all_of_them):.1%})"
    for part in report.scores:
        for score in part.scores:
            how = "exact" if score.exact else "scored"
            yield (
                f"without {part.without} ({part.left_out:,} left out), {score.which}, {how}: {_said(score.kept)}"
                f"; with them {_said(score.all)}; they alone {_said(score.left_out)}"
            )


def _said(measure: Measure) -> str:
    if measure.value is None or measure.low is None or measure.high is None:
        return "no score"
    unscored = f", {measure.unscored:,} unscored" if measure.unscored else ""
    return f"{measure.value:.1%} [{measure.low:.1%}, {measure.high:.1%}] of {measure.n:,}{unscored}"
