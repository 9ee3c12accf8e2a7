"""CLEVR: questions about rendered solids, with the program of each. facebookresearch/clevr-dataset-gen.

    CLEVR_v1.0/questions/CLEVR_{split}_questions.json  {"info", "questions": [{"image_filename", "question", ...}]}

The test split has no answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from stepsight.records import Question

FOLDER = "CLEVR_v1.0"


class _Row(Row):
    image_filename: str
    question: str = Field(min_length=1)
    answer: str | None = None
    question_family_index: int | None = None
    program: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True)
class CLEVR:
    """One split."""

    split: str = "train"
    name: str = "clevr"
    licence: str = "CC BY 4.0"
    homepage: str = "https://cs.stanford.edu/people/jcjohns/clevr/"
    paper_count: int | None = 500

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return (
            f"clevr/{FOLDER}/questions/CLEVR_{self.split}_questions.json, "
            f"clevr/{FOLDER}/images/{self.split}/CLEVR_{self.split}_000000.png"
        )

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = self._file(root)
        return find_file(root, path, scan_list(path, "questions"), images(root, self.split))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `clevr-{split}-{row}`."""
        path = self._file(root)
        rows = numbered(scan_list(path, "questions"))
        yield from read_rows(self.name, path, rows, lambda raw: self._row(raw, images(root, self.split)))

    def _file(self, root: Path) -> Path:
        return locate(root / self.name, FOLDER) / "questions" / f"CLEVR_{self.split}_questions.json"

    def _row(self, raw: Raw, folder: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        if not row.answer:
            raise UnusableError("the row has no answer", Reason.UNANSWERED)
        return Sourced(
            question=Question(
                id=f"{self.name}-{self.split}-{raw.row}",
                text=row.question,
                images=(inside(folder, row.image_filename),),
                answer=row.answer,
                source=self.name,
                meta={"split": self.split, "family": row.question_family_index, "program": row.program},
            ),
            turns=one_round(row.question, row.answer),
        )


def images(root: Path, split: str) -> Path:
    """The folder of CLEVR's pictures of a split."""
    return locate(root / "clevr", FOLDER) / "images" / split
