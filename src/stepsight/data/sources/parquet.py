"""Parquet files of one's own, or as a hub serves them; `columns.py` says which columns are read.

Needs the extra `data`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stepsight.data.sources.columns import arrow, scan_parquet_rows, table_row
from stepsight.data.sources.reading import Raw, numbered, read_rows
from stepsight.data.sources.source import Found, FoundFile, SetAside, Sourced
from stepsight.errors import RecordError

_BROKEN = "damaged, or no such table"


@dataclass(frozen=True)
class Parquet:
    """All `*.parquet` of a folder below the root; pictures named in them start from that folder."""

    folder: str = "parquet"
    name: str = "parquet"
    licence: str = "yours to say"
    homepage: str = "rows of your own"
    paper_count: int | None = None

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return f"{self.folder}/*.parquet with question, answer (choices), image; or conversations, image"

    def find(self, root: Path) -> Found:
        """Take the count of rows from each file's end."""
        files = self._files(root)
        if not files:
            return Found(missing=(f"{self.folder}/*.parquet",))
        return Found(tuple(count_table(path, lambda p: arrow().parquet.read_metadata(p).num_rows) for path in files))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row; ids are `parquet-{file}-{row}`."""
        for path in self._files(root):
            yield from read_table(self.name, path, scan_parquet_rows(path), root / self.folder)

    def _files(self, root: Path) -> list[Path]:
        return sorted((root / self.folder).glob("*.parquet"))


def count_table(path: Path, count: Callable[[Path], int]) -> FoundFile:
    """How many rows a table has, or that it is damaged.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    broken = arrow().ArrowException
    try:
        return FoundFile(path, count(path))
    except (OSError, broken) as error:
        return FoundFile(path, 0, f"{_BROKEN}: {error}")


def read_table(source: str, path: Path, rows: Iterator[dict[str, Any]], folder: Path) -> Iterator[Sourced | SetAside]:
    """Each row of a table; `folder` is where the pictures' names start, and where those in the table are written."""

    def convert(raw: Raw, *, stem: str) -> Sourced:
        return table_row(raw.value, identity=f"{source}-{stem}-{raw.row}", source=source, folder=folder)

    return read_rows(source, path, numbered(_sound(rows)), partial(convert, stem=path.stem))


def _sound(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same rows; what arrow says of a damaged file becomes a RecordError."""
    broken = arrow().ArrowException
    try:
        yield from rows
    except (OSError, broken) as error:
        raise RecordError(f"{_BROKEN}: {error}", hint="download the file again") from error
