"""What a source is: a dataset's own files under a root, read row by row into questions.

    root/chartqa/...  --find-->  Found: which files are there, how many rows, what is missing or damaged
                      --read-->  Sourced, Sourced, SetAside, Sourced, ...

One root holds a folder per dataset, so that datasets can share pictures (A-OKVQA those of `coco`, CLEVR-Math those of
`clevr`). A row that cannot be used is a `SetAside` with its file and row, and reading goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import Field

from stepsight.records import Question, Record


class Exchange(Record):
    """One round of a conversation as the dataset words it: what the person asks, and the known answer."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class Sourced(Record):
    """A well-formed row.

    `turns` holds every round, in the words that LLaVA-CoT-100k uses for this dataset (options and instruction
    included); a row of one round has one. `question` is the first round as data: its bare text, its choices, its
    answer. `hint` is what the dataset knows of the way to the answer (a rationale, a solution), for a teacher only.
    """

    question: Question
    turns: tuple[Exchange, ...] = Field(min_length=1)
    hint: str = ""


class Reason(StrEnum):
    """Why a row was set aside."""

    FILE = "file"  # a whole file, or all that follows in it, cannot be read
    ROW = "row"  # a field is missing or is not what the format says
    TEXT_ONLY = "text-only"  # the row has no picture, which is no damage
    UNANSWERED = "unanswered"  # the row has no answer, as those of most test splits
    IMAGE_MISSING = "image-missing"
    IMAGE_EMPTY = "image-empty"
    IMAGE_DAMAGED = "image-damaged"
    SEVERAL_IMAGES = "several-images"  # no damage; but a row of LLaVA-CoT-100k names one


@dataclass(frozen=True)
class SetAside:
    """A row that cannot be used: where it stands and why.

    `row` counts from 1, or is the dataset's own key, or, of a row that its source could read, the question's id.
    """

    source: str
    file: Path
    row: int | str | None
    reason: Reason
    detail: str

    def __str__(self) -> str:
        where = "" if self.row is None else f", row {self.row}"
        return f"{self.source}: {self.file}{where}: {self.detail}"


@dataclass(frozen=True)
class FoundFile:
    """A file of rows, or a folder of such files: how many rows it has, and what is wrong with it, if anything is."""

    path: Path
    rows: int
    fault: str = ""


@dataclass(frozen=True)
class Found:
    """What is there of a source under a root. `missing` names what a reader needs and does not find."""

    files: tuple[FoundFile, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows the files have, those included that reading will set aside."""
        return sum(file.rows for file in self.files)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, one line each."""
        damaged = (f"{file.path}: {file.fault}" for file in self.files if file.fault)
        return (*(f"{name}: missing" for name in self.missing), *damaged)


class Source(Protocol):
    """One public dataset.

    `paper_count` is how many rows LLaVA-CoT took of it (arXiv 2411.10440, Table 1), None where it took none; `layout`
    says to people which files are expected where below the root.
    """

    @property
    def name(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def homepage(self) -> str: ...
    @property
    def layout(self) -> str: ...
    @property
    def paper_count(self) -> int | None: ...

    def find(self, root: Path) -> Found:
        """Look for the files and count their rows; pictures are looked at by `read` only."""
        ...

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row in turn, in an order that is always the same; one row at a time is in memory."""
        ...
