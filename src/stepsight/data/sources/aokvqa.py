"""A-OKVQA: questions about photographs that need knowledge; four choices, ten direct answers. allenai/aokvqa.

The pictures are COCO's of 2017. The test split has no answers.
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
    locate,
    numbered,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, Reason, SetAside, Sourced
from stepsight.data.sources.wording import check_choice, letter, lettered
from stepsight.records import Question


class _Row(Row):
    image_id: int
    question_id: str
    question: str = Field(min_length=1)
    choices: list[str]
    correct_choice_idx: int | None = None
    direct_answers: list[str] = Field(default_factory=list)
    difficult_direct_answer: bool | None = None
    rationales: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class AOKVQA:
    """One split; the multiple choice is the question, direct answers go into `meta`, rationales are the hint."""

    split: str = "train"
    name: str = "aokvqa"
    licence: str = "Apache-2.0 (pictures: Flickr's)"
    homepage: str = "https://github.com/allenai/aokvqa"
    paper_count: int | None = 16_100

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"aokvqa/aokvqa_v1p0_{self.split}.json; pictures coco/{self.split}2017/000000299207.jpg"

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = self._file(root)
        return find_file(root, path, scan_list(path), self._images(root))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `aokvqa-{question_id}`."""
        path = self._file(root)
        yield from read_rows(self.name, path, numbered(scan_list(path)), lambda raw: self._row(raw, root))

    def _file(self, root: Path) -> Path:
        return locate(root / self.name, f"aokvqa_v1p0_{self.split}.json")

    def _images(self, root: Path) -> Path:
        return root / "coco" / f"{self.split}2017"

    def _row(self, raw: Raw, root: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        if row.correct_choice_idx is None:
            raise UnusableError("the row has no correct_choice_idx", Reason.UNANSWERED)
        answer = check_choice(row.choices, row.correct_choice_idx)
        return Sourced(
            question=Question(
                id=f"{self.name}-{row.question_id}",
                text=row.question,
                images=(self._images(root) / f"{row.image_id:012}.jpg",),
                choices=tuple(row.choices),
                answer=answer,
                source=self.name,
                meta={
                    "split": self.split,
                    "direct_answers": row.direct_answers,
                    "difficult_direct_answer": row.difficult_direct_answer,
                },
            ),
            turns=one_round(lettered(row.question, row.choices), letter(row.correct_choice_idx)),
            hint="\n".join(row.rationales),
        )
