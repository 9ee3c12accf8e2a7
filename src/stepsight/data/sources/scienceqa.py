"""ScienceQA: multiple choice from school books. lupantech/ScienceQA; one JSON mapping from number to row.

Half of the rows have no picture and are set aside as text only. A row's `hint` is what the person is told with the
question, so it is part of the question; its `solution` is the hint for a teacher.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stepsight.data.sources.json_stream import scan_mapping
from stepsight.data.sources.reading import (
    Raw,
    Row,
    UnusableError,
    as_row,
    find_file,
    inside,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, Reason, SetAside, Sourced
from stepsight.data.sources.wording import check_choice, letter, tidy
from stepsight.records import Question

_PLACES = ("data/scienceqa", "scienceqa", "")
"""Where problems.json lies below `scienceqa/`: as cloned, or less deep."""


class _Row(Row):
    question: str = Field(min_length=1)
    choices: list[str]
    answer: int | None = None
    hint: str = ""
    image: str | None = None
    subject: str = ""
    topic: str = ""
    skill: str = ""
    solution: str = ""
    split: str


@dataclass(frozen=True)
class ScienceQA:
    """One split of those that `pid_splits.json` parts disjointly: `train`, `val` or `test`."""

    split: str = "train"
    name: str = "scienceqa"
    licence: str = "CC BY-NC-SA 4.0"
    homepage: str = "https://github.com/lupantech/ScienceQA"
    paper_count: int | None = 5_600

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"scienceqa/data/scienceqa/problems.json, beside it images/{self.split}/1/image.png"

    def find(self, root: Path) -> Found:
        """Count the rows of the split, those without a picture included."""
        path = self._file(root)
        return find_file(root, path, self._raw(path), self._images(path))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row of the split; ids are `scienceqa-{number}`, and a row is named by its number."""
        path = self._file(root)
        images = self._images(path)
        yield from read_rows(self.name, path, self._raw(path), lambda raw: self._row(raw, images))

    def _file(self, root: Path) -> Path:
        paths = [root / self.name / place / "problems.json" for place in _PLACES]
        return next((path for path in paths if path.is_file()), paths[0])

    def _images(self, path: Path) -> Path:
        folders = [path.parent / "images" / self.split, path.parent / self.split]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def _raw(self, path: Path) -> Iterator[Raw]:
        """The rows of the split; one that does not say its split is in each."""
        for number, value in scan_mapping(path):
            if not isinstance(value, dict) or value.get("split", self.split) == self.split:
                yield Raw(number, value)

    def _row(self, raw: Raw, images: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        if row.image is None or not row.image:
            raise UnusableError("the row has no picture", Reason.TEXT_ONLY)
        if row.answer is None:
            raise UnusableError("the row has no answer", Reason.UNANSWERED)
        answer = check_choice(row.choices, row.answer)
        context = row.hint.strip()
        options = " ".join(f"({letter(index)}) {choice}" for index, choice in enumerate(row.choices))
        worded = f"{tidy(row.question)}\nContext: {tidy(context) or 'N/A'}\nOptions: {tidy(options)}"
        return Sourced(
            question=Question(
                id=f"{self.name}-{raw.row}",
                text=f"{row.question}\nContext: {context}" if context else row.question,
                images=(inside(images / str(raw.row), row.image),),
                choices=tuple(row.choices),
                answer=answer,
                source=self.name,
                meta={"split": self.split, "subject": row.subject, "topic": row.topic, "skill": row.skill},
            ),
            turns=one_round(worded, f"The answer is {letter(row.answer)}."),
            hint=row.solution,
        )
