"""AI2D: multiple choice about diagrams of school science. One JSON file per picture, questions keyed by their text.

    questions/N.png.json   {"imageName", "questions": {"<text>": {"abcLabel", "answerTexts", "correctAnswer", ...}}}

`abcLabel` says that the choices are letters drawn on the picture: such a question needs the re-lettered picture of
`abc_images`. Pictures named in `ai2d_test_ids.csv` are the test split. No redistribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsight.data.sources.json_stream import scan_mapping
from stepsight.data.sources.reading import (
    Raw,
    Row,
    UnusableError,
    as_row,
    inside,
    locate,
    one_round,
    read_rows,
)
from stepsight.data.sources.source import Found, FoundFile, Reason, SetAside, Sourced
from stepsight.data.sources.wording import check_choice, letter, lettered
from stepsight.errors import RecordError
from stepsight.records import Question

TEST_IDS = "ai2d_test_ids.csv"


class _Row(Row):
    abcLabel: bool
    answerTexts: list[str]
    correctAnswer: int
    questionId: str


@dataclass(frozen=True)
class AI2D:
    """One split. Without the list of test pictures `train` is everything, which `find` says."""

    split: str = "train"
    name: str = "ai2d"
    licence: str = "non-commercial, no redistribution"
    homepage: str = "https://prior.allenai.org/projects/diagram-understanding"
    paper_count: int | None = 11_400

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"ai2d/questions/N.png.json, ai2d/images/N.png, ai2d/abc_images/N.png, ai2d/{TEST_IDS}"

    def find(self, root: Path) -> Found:
        """Count the questions of all files of the split."""
        folder = locate(root / self.name, "questions")
        if not folder.is_dir():
            return Found(missing=(str(folder.relative_to(root)),))
        count, faults = 0, []
        for path in self._files(folder):
            try:
                count += sum(1 for _ in _asked(path))
            except RecordError as error:
                faults.append(f"{path.name}: {error}")
        needed = (folder.parent / "images", folder.parent / "abc_images", locate(root / self.name, TEST_IDS))
        return Found(
            (FoundFile(folder, count, "; ".join(faults)),),
            tuple(str(path.relative_to(root)) for path in needed if not path.exists()),
        )

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each question; ids are `ai2d-{questionId}`, and a row is named by the question's text."""
        folder = locate(root / self.name, "questions")
        if not folder.is_dir():
            yield SetAside(self.name, folder, None, Reason.FILE, "there is no such folder")
        for path in self._files(folder):
            yield from read_rows(
                self.name,
                path,
                (Raw(text, (image, value)) for image, text, value in _asked(path)),
                lambda raw: self._row(raw, folder.parent),
            )

    def _files(self, folder: Path) -> list[Path]:
        wanted = self.split == "test"
        known = self._test_ids(folder)
        files = (path for path in folder.glob("*.json") if (path.name.split(".")[0] in known) == wanted)
        return sorted(files, key=lambda path: (len(path.name), path.name))  # 9.png before 10.png

    def _test_ids(self, folder: Path) -> set[str]:
        # It lies beside the folder of questions or, if archives were unpacked differently, above.
        for place in (folder.parent, folder.parent.parent):
            if (place / TEST_IDS).is_file():
                words = (place / TEST_IDS).read_text(encoding="utf-8").replace(",", " ").split()
                return {word.removesuffix(".png") for word in words}
        return set()

    def _row(self, raw: Raw, folder: Path) -> Sourced:
        image, value = raw.value
        row = as_row(_Row, value)
        text = str(raw.row).strip()
        if not text or not isinstance(image, str):
            raise UnusableError(
                "the question has no text" if not text else "the file has no imageName before questions"
            )
        answer = check_choice(row.answerTexts, row.correctAnswer)
        return Sourced(
            question=Question(
                id=f"{self.name}-{row.questionId}",
                text=text,
                images=(inside(folder / ("abc_images" if row.abcLabel else "images"), image),),
                choices=tuple(row.answerTexts),
                answer=answer,
                source=self.name,
                meta={"split": self.split, "abc": row.abcLabel},
            ),
            turns=one_round(lettered(text, row.answerTexts), letter(row.correctAnswer)),
        )


def _asked(path: Path) -> Iterator[tuple[Any, str, Any]]:
    """Picture, question and what is under it, for each question of a file; `questions` may be empty.

    Raises:
        RecordError: the file is no such JSON.
    """
    whole = dict(scan_mapping(path))  # one picture's questions: small
    questions = whole.get("questions")
    if not isinstance(questions, dict):
        raise RecordError("there is no mapping 'questions'")
    for text, value in questions.items():
        yield whole.get("imageName"), text, value
