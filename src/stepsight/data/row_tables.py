"""Rows to learn from in a parquet file, read group by group.

    conversations       as in the public format (`staged_rows`), or
    messages            as chat: role (system, user, assistant) and content, a text or a list of typed parts
    image, or images    a path, or {"bytes", "path"} as the library `datasets` stores it; of `images` one at most
    id                  optional; other columns are not read

That is what `stepsight data export --to parquet` writes, what a dataset has as `train.parquet`, and what most datasets
of the hub look like. A group of rows is in memory at a time, pictures included, so a file should not be one group.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepsight.data.row_pictures import BadPicture, size_of
from stepsight.data.sources.columns import arrow
from stepsight.data.staged_rows import PlacedRow, RowFault, SetAside, StagedRow
from stepsight.errors import RecordError

logger = logging.getLogger(__name__)

COLUMNS = ("id", "image", "images", "conversations", "messages")
SCANNED = 64
"""So many rows are in memory at a time while all are looked at."""
LARGE = 1 << 30
"""Bytes of a group of rows above which a reader is told."""
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


class RowTable:
    """A parquet file of rows; those read last stay in memory with their groups, `kept` of them.

    Args:
        path: the file.
        kept: how many groups.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError: the file cannot be read, or has no column of turns.
    """

    def __init__(self, path: Path, *, kept: int = 1) -> None:
        self.path, self.kept = path, kept
        self._groups: OrderedDict[int, Any] = OrderedDict()
        library = arrow()
        try:
            with path.open("rb") as stream:
                file = library.parquet.ParquetFile(stream)
                names = file.schema_arrow.names
                groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        except (OSError, library.ArrowException) as error:
            raise self._unreadable(error) from error
        self.columns = [name for name in COLUMNS if name in names]
        if not {"conversations", "messages"} & set(self.columns):
            raise RecordError(
                f"{path} has neither a column conversations nor messages, but {', '.join(names)}",
                hint="give a parquet file of rows; see docs/training.md",
            )
        self.starts: list[int] = [0, *accumulate(int(group.num_rows) for group in groups)]
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > LARGE:
            logger.warning(
                "%s has groups of rows of up to %.1f GB, each of which is held in memory; write it with smaller ones",
                path,
                largest / 1e9,
            )

    def __len__(self) -> int:
        return self.starts[-1]

    def scan(self, images: Path) -> Iterator[PlacedRow | SetAside]:
        """Each row in turn, or why it is set aside; pictures have their headers looked at.

        Raises:
            RecordError: the file is damaged.
        """
        library, number = arrow(), 0
        try:
            with self.path.open("rb") as stream:
                file = library.parquet.ParquetFile(stream)
                for batch in file.iter_batches(batch_size=SCANNED, columns=self.columns, use_threads=False):
                    for value in batch.to_pylist():
                        number += 1
                        yield self._checked(number, value, images)
        except (OSError, library.ArrowException) as error:
            raise self._unreadable(error) from error

    def read(self, number: int) -> tuple[StagedRow, bytes | None]:
        """Row `number`, from 1, and the bytes of its picture if they stand in the table.

        Raises:
            RecordError: the file is damaged.
        """
        group = self.group_of(number)
        table = self._groups.get(group)
        if table is None:
            library = arrow()
            try:
                with self.path.open("rb") as stream:
                    file = library.parquet.ParquetFile(stream)
                    table = file.read_row_group(group, columns=self.columns, use_threads=False)
            except (OSError, library.ArrowException) as error:
                raise self._unreadable(error) from error
            self._groups[group] = table
            while len(self._groups) > self.kept:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        [value] = table.slice(number - 1 - self.starts[group], 1).to_pylist()
        return self._row(number, value)

    def group_of(self, number: int) -> int:
        """The group that row `number` is in."""
        return bisect_right(self.starts, number - 1) - 1

    def _row(self, number: int, value: dict[str, Any]) -> tuple[StagedRow, bytes | None]:
        name, data = _picture(value)
        identity = value.get("id")
        turns = value.get("conversations")
        if turns is None:
            turns = [{"from": _SPEAKERS.get(one["role"]), "value": _said(one)} for one in value.get("messages") or ()]
        row = StagedRow.model_validate(
            {
                "id": f"{self.path.stem}-{number}" if identity is None else identity,
                "image": name,
                "conversations": turns,
            }
        )
        return row, data

    def _checked(self, number: int, value: dict[str, Any], images: Path) -> PlacedRow | SetAside:
        where = f"{self.path}, row {number}"
        try:
            row, data = self._row(number, value)
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            reason = f"{where}: not a StagedRow: {_reason(error)}"
            return SetAside(file=self.path.name, line=number, kind=RowFault.MALFORMED, reason=reason)
        size = None if row.image is None else size_of(images, row.image, data=data)
        if isinstance(size, BadPicture):
            reason = f"{where}, {row.id}: {size.detail}"
            return SetAside(file=self.path.name, line=number, id=row.id, kind=size.kind, reason=reason)
        return PlacedRow(number, row, size)

    def _unreadable(self, error: Exception) -> RecordError:
        said = getattr(error, "strerror", None) or f"damaged, or no parquet: {error}"
        return RecordError(f"{self.path} cannot be read: {said}", hint="give a parquet file of rows")


def _picture(value: dict[str, Any]) -> tuple[str | None, bytes | None]:
    """The name of a row's picture, and its bytes if the table has them."""
    found = value.get("image")
    if found is None:
        several = value.get("images") or [None]
        if len(several) > 1:
            raise ValueError(f"it has {len(several)} pictures, and one is the most that is covered")
        found = several[0]
    if found is None or isinstance(found, str):
        return found, None
    data, path = found.get("bytes"), found.get("path")
    if data is None:
        return path, None
    return path or "the picture in the table", data


def _said(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    return f"{error}" if isinstance(error, ValueError) else f"a turn lacks {error}"
