"""DocVQA (task 1): questions about scanned pages; several answers of which each is right. rrc.cvc.uab.es, ch=17.

    {split}_v1.0.json  {"dataset_name", ..., "data": [{"questionId", "question", "image", "answers", ...}]}

The first answer is the answer; all of them stand in `meta["answers"]`. The test split has none. No redistribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stepsight.data.sources.json_stream import scan_list
from stepsight.data.sources.reading import (
    Raw,
    Row,
    UnusableError,
    as_row,
    find_file,
    inside,
    locate,
    numbered,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, Reason, SetAside, Sourced
from stepsight.data.sources.wording import ANSWER_SHORTLY, tidy
from stepsight.records import Question


class _Row(Row):
    questionId: int
    question: str = Field(min_length=1)
    image: str
    answers: list[str] | None = None
    question_types: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class DocVQA:
    """One split, from the file with question types (`_withQT`) where that is there."""

    split: str = "train"
    name: str = "docvqa"
    licence: str = "registration, no redistribution"
    homepage: str = "https://rrc.cvc.uab.es/?ch=17"
    paper_count: int | None = 4_000

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"docvqa/{self.split}/{self.split}_v1.0.json (or _v1.0_withQT.json), docvqa/{self.split}/documents/*.png"

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = self._file(root)
        return find_file(root, path, scan_list(path, "data"), path.parent / "documents")

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `docvqa-{split}-{questionId}`."""
        path = self._file(root)
        yield from read_rows(self.name, path, numbered(scan_list(path, "data")), lambda raw: self._row(raw, path))

    def _file(self, root: Path) -> Path:
        folder = locate(root / self.name, self.split)
        typed = folder / f"{self.split}_v1.0_withQT.json"
        return typed if typed.is_file() else folder / f"{self.split}_v1.0.json"

    def _row(self, raw: Raw, path: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        answers = [answer for answer in map(tidy, row.answers or []) if answer]
        if not answers:
            raise UnusableError("the row has no answers", Reason.UNANSWERED)
        return Sourced(
            question=Question(
                id=f"{self.name}-{self.split}-{row.questionId}",
                text=row.question,
                images=(inside(path.parent, row.image),),
                answer=answers[0],
                source=self.name,
                meta={"split": self.split, "answers": answers, "question_types": row.question_types},
            ),
            turns=one_round(f"{row.question}\n{ANSWER_SHORTLY}", answers[0]),
        )
