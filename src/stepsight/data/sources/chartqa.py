"""ChartQA: questions about charts, by people (`human`) and from templates (`augmented`). vis-nlp/ChartQA.

Labels are dirty: lists as text (`"[63, 26]"`), dates as Excel's numbers (`"44362"`), blanks, ratios of many digits,
shares as fractions (`"0.39"` for 39 %). The first three are put right, all are named in `meta["dirt"]`, and the label
as it was is kept in `meta["label"]`. What a fraction stands for cannot be known from the row, so it stays.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
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
from stepsight.data.sources.source import Found, SetAside, Sourced
from stepsight.data.sources.wording import ANSWER_SHORTLY, tidy
from stepsight.records import Question

_FOLDER = "ChartQA Dataset"
_WRITERS = ("human", "augmented")
_FIRST_DAY = date(1899, 12, 30)
"""Day 0 of Excel's calendar, from 1 March 1900 on."""
_DATES = range(36_526, 47_848)
"""2000 to 2030: outside of it a number of five digits is taken for a number."""
_ASKS_DATE = re.compile(r"\b(when|date|day|month)\b", re.IGNORECASE)
_ASKS_SHARE = re.compile(r"%|\b(percent\w*|share|proportion)\b", re.IGNORECASE)
_LONG = re.compile(r"^-?\d+\.\d{6,}$")
_FRACTION = re.compile(r"^0\.\d+$")


class _Row(Row):
    imgname: str
    query: str = Field(min_length=1)
    label: str


@dataclass(frozen=True)
class ChartQA:
    """Both files of one split."""

    split: str = "train"
    name: str = "chartqa"
    licence: str = "GPL-3.0"
    homepage: str = "https://github.com/vis-nlp/ChartQA"
    paper_count: int | None = 17_200

    @property
    def layout(self) -> str:
        """Which files are expected."""
        files = " and ".join(f"{self.split}_{writer}.json" for writer in _WRITERS)
        return f"chartqa/{_FOLDER}/{self.split}/ with {files}, and png/"

    def find(self, root: Path) -> Found:
        """Count the rows of both files."""
        one, other = (find_file(root, path, scan_list(path), path.parent / "png") for path in self._files(root))
        return Found(one.files + other.files, tuple(dict.fromkeys(one.missing + other.missing)))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `chartqa-{split}-{writer}-{row}`."""
        for writer, path in zip(_WRITERS, self._files(root), strict=True):
            convert = partial(self._row, writer=writer, folder=path.parent / "png")
            yield from read_rows(self.name, path, numbered(scan_list(path)), convert)

    def _files(self, root: Path) -> list[Path]:
        folder = locate(root / self.name, _FOLDER) / self.split
        return [folder / f"{self.split}_{writer}.json" for writer in _WRITERS]

    def _row(self, raw: Raw, writer: str, folder: Path) -> Sourced:
        row = as_row(_Row, raw.value)
        query = tidy(row.query)
        answer, dirt = clean_label(query, row.label)
        if not answer:
            raise UnusableError("the label is empty")
        return Sourced(
            question=Question(
                id=f"{self.name}-{self.split}-{writer}-{raw.row}",
                text=query,
                images=(inside(folder, row.imgname),),
                answer=answer,
                source=self.name,
                meta={"split": self.split, "writer": writer, "label": row.label, "dirt": dirt},
            ),
            turns=one_round(f"{query} {ANSWER_SHORTLY}", answer),
        )


def clean_label(query: str, label: str) -> tuple[str, list[str]]:
    """The label put right, and what was odd about it: `blanks`, `list`, `date`, `ratio`, `fraction`."""
    answer = tidy(label)
    dirt = ["blanks"] if answer != label else []
    if answer.startswith("[") and answer.endswith("]"):
        answer = ", ".join(_parts(answer))
        dirt.append("list")
    elif answer.isdecimal() and int(answer) in _DATES and _ASKS_DATE.search(query):
        answer = (_FIRST_DAY + timedelta(days=int(answer))).isoformat()
        dirt.append("date")
    elif _LONG.match(answer):
        dirt.append("ratio")
    if _FRACTION.match(answer) and _ASKS_SHARE.search(query):
        dirt.append("fraction")
    return answer, dirt


def _parts(text: str) -> list[str]:
    try:
        parts = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        parts = text[1:-1].split(",")  # words without quotes: [Yes, No]
    return [part for part in (tidy(str(part)) for part in parts) if part]
