"""Files of rows of which one at a time is read: memory holds where each row is, not what it says.

Rows that lie near each other in a file are in one of its `chunks`; reading them together is cheap.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from PIL import Image

from stepsight.data.row_tables import RowTable
from stepsight.data.staged_rows import PlacedRow, SetAside, StagedRow, scan_rows
from stepsight.errors import RecordError
from stepsight.pictures import load_picture

BUNDLE = 4
"""So many chunks of a table are read in turns, so that rows that follow each other are from different places."""


class RowFile(Protocol):
    """A file of rows."""

    def scan(self) -> Iterator[PlacedRow | SetAside]:
        """Each row in turn, or why it is set aside."""
        ...

    def read(self, number: int) -> tuple[StagedRow, Image.Image | None]:
        """A sound row by its number, which `scan` has told, and its picture.

        Raises:
            PictureError: the picture cannot be decoded.
            RecordError: the file is not as it was.
        """
        ...

    def chunk_of(self, number: int) -> int:
        """Which chunk a row is in."""
        ...


def open_rows(rows: Path, images: Path) -> RowFile:
    """The rows of a JSON-lines file, or of a parquet file, as the name's ending says.

    Raises:
        RecordError: the file cannot be read.
        MissingExtraError: it is parquet, and pyarrow is not installed.
    """
    return TableOfRows(rows, images) if rows.suffix == ".parquet" else LinesOfRows(rows, images)


class LinesOfRows:
    """A JSON-lines file; rows are numbered by line, and all are one chunk."""

    def __init__(self, rows: Path, images: Path) -> None:
        self.rows, self.images = rows, images
        self._starts = array("q", [0])
        try:
            with rows.open("rb") as stream:
                for line in stream:
                    self._starts.append(self._starts[-1] + len(line))
        except OSError as error:
            raise RecordError(
                f"{rows} cannot be read: {error.strerror or error}", hint="give a JSON-lines or parquet file"
            ) from error

    def scan(self) -> Iterator[PlacedRow | SetAside]:
        """See `RowFile`."""
        return scan_rows(self.rows, self.images)

    def read(self, number: int) -> tuple[StagedRow, Image.Image | None]:
        """See `RowFile`."""
        with self.rows.open("rb") as stream:
            stream.seek(self._starts[number - 1])
            line = stream.readline()
        try:
            row = StagedRow.model_validate_json(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except ValueError as error:
            raise RecordError(
                f"{self.rows}, line {number}: not the row that it was",
                hint="a file must stay as it is while it is read",
            ) from error
        return row, None if row.image is None else load_picture(self.images / row.image)

    def chunk_of(self, number: int) -> int:
        """See `RowFile`."""
        return 0


class TableOfRows:
    """A parquet file; rows are numbered from 1, and its groups of rows are the chunks."""

    def __init__(self, rows: Path, images: Path) -> None:
        self.images = images
        # Windows of rows of like length may reach from one bundle into the next.
        self._table = RowTable(rows, kept=2 * BUNDLE)

    def scan(self) -> Iterator[PlacedRow | SetAside]:
        """See `RowFile`."""
        return self._table.scan(self.images)

    def read(self, number: int) -> tuple[StagedRow, Image.Image | None]:
        """See `RowFile`."""
        row, data = self._table.read(number)
        if row.image is None:
            return row, None
        return row, load_picture(self.images / row.image if data is None else Path(row.image), data=data)

    def chunk_of(self, number: int) -> int:
        """See `RowFile`."""
        return self._table.group_of(number)
