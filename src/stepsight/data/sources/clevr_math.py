"""CLEVR-Math: sums about CLEVR's pictures: what is left when some solids are taken away or added. dali-does/clevr-math.

    clevr-math-{split}.json  {"questions": [{"template_filename", "image_filename", "question", "answer": 3, ...}]}

Templates are addition, subtraction, subtraction-multihop and adversarial. The pictures of train and val are CLEVR's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from stepsight.data.sources import clevr
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


class _Row(Row):
    template_filename: str = ""
    image_filename: str
    question: str = Field(min_length=1)
    answer: int | str | None = None
    program: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True)
class CLEVRMath:
    """One split; `val` and `train` take their pictures from the folder of the source `clevr`."""

    split: str = "train"
    name: str = "clevr_math"
    licence: str = "CC BY 4.0 (card), CC BY-SA 4.0 (loader)"
    homepage: str = "https://huggingface.co/datasets/dali-does/clevr-math"
    paper_count: int | None = 500

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"clevr_math/clevr-math-{self.split}.json; pictures clevr/{clevr.FOLDER}/images/{self.split}/"

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = self._file(root)
        return find_file(root, path, scan_list(path, "questions"), self._images(root))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `clevr_math-{split}-{row}`."""
        path = self._file(root)
        rows = numbered(scan_list(path, "questions"))
        yield from read_rows(self.name, path, rows, lambda raw: self._row(raw, self._images(root)))

    def _file(self, root: Path) -> Path:
        return locate(root / self.name, f"clevr-math-{self.split}.json")

    def _images(self, root: Path) -> Path:
        own = root / self.name / "images" / self.split
        return own if own.is_dir() else clevr.images(root, self.split)

    def _row(self, raw: Raw, images: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        if row.answer is None or row.answer == "":
            raise UnusableError("the row has no answer", Reason.UNANSWERED)
        answer = str(row.answer).strip()
        if not answer.isdecimal():
            raise UnusableError(f"the answer {row.answer!r} is no count")
        return Sourced(
            question=Question(
                id=f"{self.name}-{self.split}-{raw.row}",
                text=row.question,
                images=(inside(images, row.image_filename),),
                answer=answer,
                source=self.name,
                meta={"split": self.split, "family": Path(row.template_filename).stem, "program": row.program},
            ),
            turns=one_round(row.question, answer),
        )
