"""Records to and from JSON lines: one record per line, UTF-8.

    read_jsonl   every row must be well-formed; the first that is not raises
    sift_jsonl   malformed rows are set aside, each with its reason
    scan_jsonl   each row in turn, the malformed as errors
    scan_lines   the same, each with the number of its line

Compression is not covered, and neither are several processes that append to one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from stepsight.errors import RecordError
from stepsight.files import whole_file

Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True)
class Sifted(Generic[Row]):
    """The well-formed rows of a file, and one error for each row that was set aside."""

    rows: tuple[Row, ...]
    faults: tuple[RecordError, ...]


def write_jsonl(path: Path, records: Iterable[BaseModel]) -> int:
    """Write `records` to `path` and return how many there were.

    The file appears whole or not at all; if `records` raises while being read, an older file at `path` stays as it was.
    """
    count = 0
    with whole_file(path) as stream:
        for record in records:
            stream.write(_line(record))
            count += 1
    return count


def append_jsonl(path: Path, records: Iterable[BaseModel]) -> int:
    """Add `records` at the end of `path` and return how many there were; each is written before the next is asked for.

    A last line that an interrupted run left without its line break is closed first, so that only that line is lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("a+b") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        for record in records:
            stream.write(_line(record))
            stream.flush()
            count += 1
    return count


def read_jsonl(path: Path, kind: type[Row]) -> list[Row]:
    """Read every row of `path` as a `kind`; blank lines are skipped.

    Raises:
        RecordError: `path` cannot be read, or a row is malformed; the message names file and line.
    """
    rows = []
    for row in scan_jsonl(path, kind):
        if isinstance(row, RecordError):
            raise row
        rows.append(row)
    return rows


def sift_jsonl(path: Path, kind: type[Row]) -> Sifted[Row]:
    """Read `path`, setting malformed rows aside instead of raising; blank lines are skipped.

    Raises:
        RecordError: `path` cannot be read at all.
    """
    rows: list[Row] = []
    faults: list[RecordError] = []
    for row in scan_jsonl(path, kind):
        if isinstance(row, RecordError):
            faults.append(row)
        else:
            rows.append(row)
    return Sifted(rows=tuple(rows), faults=tuple(faults))


def scan_jsonl(path: Path, kind: type[Row]) -> Iterator[Row | RecordError]:
    """Each row of `path` in turn: a `kind`, or, where it is none, what is wrong with it; blank lines are skipped.

    Raises:
        RecordError: `path` cannot be read at all.
    """
    return (row for _, row in scan_lines(path, kind))


def scan_lines(path: Path, kind: type[Row]) -> Iterator[tuple[int, Row | RecordError]]:
    """As `scan_jsonl`, each row behind the number of its line, from 1.

    Raises:
        RecordError: `path` cannot be read at all.
    """
    try:
        # Bytes, so that one badly encoded line spoils only itself and only "\n" ends a line.
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _parse(path, number, line, kind)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RecordError(f"{path} cannot be read: {reason}", hint="give a JSON-lines file") from error


def _parse(path: Path, number: int, line: bytes, kind: type[Row]) -> Row | RecordError:
    try:
        return kind.model_validate_json(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except ValidationError as error:
        reasons = "; ".join(_reason(fault["loc"], fault["msg"]) for fault in error.errors(include_url=False))
        return RecordError(f"{path}, line {number}: not a {kind.__name__}: {reasons}")


def _reason(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in location)
    return f"{where}: {message}" if where else message


def _line(record: BaseModel) -> bytes:
    return record.model_dump_json().encode("utf-8") + b"\n"
