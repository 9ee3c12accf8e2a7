"""What an audit finds, by kind, and whether it is more than is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from stepsight.data.lengths import Spread
from stepsight.errors import InputError
from stepsight.records import Record


class Kind(StrEnum):
    """The kinds of findings; a row counts once for each kind."""

    MALFORMED_ROW = "malformed_row"
    FORMAT = "format"
    PICTURE_MISSING = "picture_missing"
    PICTURE_EMPTY = "picture_empty"
    PICTURE_BROKEN = "picture_broken"
    PICTURE_OUTSIDE = "picture_outside"
    BENCHMARK_PICTURE = "benchmark_picture"
    LEAK = "leak"
    LEAK_SUSPECTED = "leak_suspected"
    ID_TWICE = "id_twice"
    QUESTION_TWICE = "question_twice"
    TWIN_PICTURE = "twin_picture"
    OUTLIER = "outlier"


MEANINGS: Mapping[Kind, str] = {
    Kind.MALFORMED_ROW: "no row of the public format: broken JSON, a key that is missing, turns that do not alternate",
    Kind.FORMAT: "a reply that is not four stages in their order and nothing else",
    Kind.PICTURE_MISSING: "its picture is not there",
    Kind.PICTURE_EMPTY: "its picture is a file of zero bytes",
    Kind.PICTURE_BROKEN: "its picture cannot be decoded",
    Kind.PICTURE_OUTSIDE: "its picture lies outside the folder of pictures",
    Kind.BENCHMARK_PICTURE: "its picture looks like one of a benchmark",
    Kind.LEAK: "SUMMARY or CAPTION announces the conclusion",
    Kind.LEAK_SUSPECTED: "SUMMARY contains the conclusion; it may be chance",
    Kind.ID_TWICE: "another row has the same id",
    Kind.QUESTION_TWICE: "the same question about the same picture is asked twice",
    Kind.TWIN_PICTURE: "its picture looks like that of another file",
    Kind.OUTLIER: "a stage is far longer or shorter than others",
}

ALLOWED: Mapping[Kind, float] = {
    **dict.fromkeys(Kind, 0.0),
    Kind.LEAK_SUSPECTED: 0.05,
    Kind.TWIN_PICTURE: 0.05,
    Kind.OUTLIER: 0.05,
}
"""Shares of rows up to which a kind of finding leaves a dataset clean: some of it comes about by chance."""


def allowances(given: Mapping[str, float]) -> dict[Kind, float]:
    """`ALLOWED` with what was given in its place.

    Raises:
        InputError: there is no such kind, or a share is not between 0 and 1.
    """
    allowed = dict(ALLOWED)
    for name, share in given.items():
        if name not in tuple(Kind):
            raise InputError(f"there is no kind of finding {name!r}", hint=f"choose from {', '.join(Kind)}")
        if not 0 <= share <= 1:
            raise InputError(f"{name}={share:g} is no share", hint="give a number from 0 to 1")
        allowed[Kind(name)] = share
    return allowed


class Finding(Record):
    """Something about a row; `line` is its line in the file, `id` empty where the row cannot be read that far."""

    kind: Kind
    line: int
    id: str = ""
    detail: str


class Benchmark(Record):
    """What a benchmark file held: its pictures that were compared, and rows that could not be read."""

    name: str
    pictures: int
    unread: tuple[str, ...] = ()


class AuditReport(Record):
    """What an audit found.

    `counts` holds, for each kind, the rows concerned; `format_faults` how often each fault of a reply's form occurs, as
    in `missing CAPTION`. `findings` are the first of each kind, `kept` at most. `pictures` counts distinct files.
    """

    file: str
    rows: int
    turns: int
    pictures: int
    sources: Mapping[str, int]
    counts: Mapping[Kind, int]
    format_faults: Mapping[str, int]
    spreads: Mapping[str, Spread]
    benchmarks: tuple[Benchmark, ...]
    allowed: Mapping[Kind, float]
    findings: tuple[Finding, ...]
    kept: int

    @property
    def above(self) -> tuple[Kind, ...]:
        """The kinds of which there is more than is allowed."""
        return tuple(kind for kind in Kind if self.counts.get(kind, 0) > self.allowed[kind] * self.rows)

    @property
    def clean(self) -> bool:
        """Whether nothing is above what is allowed, and every benchmark row could be compared."""
        return not self.above and not any(benchmark.unread for benchmark in self.benchmarks)
