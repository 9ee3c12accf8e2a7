"""What reading has in common: rows become questions or are set aside, and pictures are looked at.

A picture is sound when its header can be read and its data end as its format says they must; a fault in the middle
shows when it is decoded, which is left to whoever needs the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stepsight.data.sources.source import Exchange, Found, FoundFile, Reason, SetAside, Sourced
from stepsight.errors import MissingExtraError, PictureError, RecordError
from stepsight.pictures import check_picture, load_picture

_ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
"""How the files of a format begin, and how they end."""


class Row(BaseModel):
    """A dataset's own row: only the fields that are read are named, of exactly their kinds; others are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


Kind = TypeVar("Kind", bound=Row)


class UnusableError(ValueError):
    """This row cannot be used, and why."""

    def __init__(self, detail: str, reason: Reason = Reason.ROW) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Raw:
    """A row as it stands in its file, not yet looked at."""

    row: int | str
    value: Any


def numbered(values: Iterable[Any]) -> Iterator[Raw]:
    """Rows that have no key of their own, counted from 1."""
    return (Raw(row, value) for row, value in enumerate(values, start=1))


def read_rows(
    source: str, file: Path, rows: Iterable[Raw], convert: Callable[[Raw], Sourced]
) -> Iterator[Sourced | SetAside]:
    """Each row through `convert`; what it raises, and pictures that are not sound, set the row aside.

    A file that cannot be read, or not to its end, is one `SetAside` of its own.
    """
    try:
        for raw in rows:
            try:
                yield checked(convert(raw))
            except UnusableError as error:
                yield SetAside(source, file, raw.row, error.reason, str(error))
            except ValidationError as error:
                yield SetAside(source, file, raw.row, Reason.ROW, _reasons(error))
    except MissingExtraError:
        raise
    except RecordError as error:
        yield SetAside(source, file, None, Reason.FILE, str(error))


def checked(sourced: Sourced) -> Sourced:
    """The same row, if each of its pictures is sound.

    Raises:
        UnusableError: one is not.
    """
    for image in sourced.question.images:
        check_image(image)
    return sourced


def check_image(path: Path) -> None:
    """Make sure that a picture is there, is not empty, and is not cut short.

    Raises:
        UnusableError: it is not.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnusableError(f"there is no picture {path}", Reason.IMAGE_MISSING) from error
    if not size:
        raise UnusableError(f"the picture {path} is empty", Reason.IMAGE_EMPTY)
    try:
        check_picture(path)
        if not _ends_well(path, size):
            load_picture(path)  # some cameras write something behind the end
    except PictureError as error:
        raise UnusableError(str(error), Reason.IMAGE_DAMAGED) from error


def _ends_well(path: Path, size: int) -> bool:
    with path.open("rb") as stream:
        start = stream.read(4)
        end = next((end for begin, end in _ENDS.items() if start.startswith(begin)), None)
        if end is None:
            return False
        stream.seek(max(0, size - len(end)))
        return stream.read() == end


def count_rows(path: Path, rows: Iterable[object]) -> FoundFile:
    """Count the rows of a file; where it cannot be read to its end, the count is that of the rows before."""
    count = 0
    try:
        for _ in rows:
            count += 1
    except RecordError as error:
        return FoundFile(path, count, str(error))
    return FoundFile(path, count)


def find_file(root: Path, path: Path, rows: Iterable[object], pictures: Path) -> Found:
    """What is there of a source with one file of rows and one folder of pictures; `rows` are those of the file."""
    missing = []
    if not path.is_file():
        missing.append(str(path.relative_to(root)))
    if not pictures.is_dir():
        missing.append(f"{pictures.relative_to(root)}/")
    return Found((count_rows(path, rows),) if path.is_file() else (), tuple(missing))


def locate(folder: Path, name: str) -> Path:
    """Where `name` is: in the folder, or, as archives are unpacked differently, in a folder of it.

    Where it is in neither, the path is the one in the folder.
    """
    if (folder / name).exists() or not folder.is_dir():
        return folder / name
    inner = (child / name for child in sorted(folder.iterdir()) if child.is_dir())
    return next((path for path in inner if path.exists()), folder / name)


def as_row(kind: type[Kind], value: Any) -> Kind:
    """The row as its format says.

    Raises:
        ValidationError: it is something else; `read_rows` says what.
    """
    return kind.model_validate(value)


def one_round(question: str, answer: str) -> tuple[Exchange, ...]:
    """The turns of a row that asks once."""
    return (Exchange(question=question, answer=answer),)


def inside(folder: Path, name: str) -> Path:
    """The file that a row names below a folder.

    Raises:
        UnusableError: the name is empty or leads out of the folder.
    """
    if not name.strip() or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UnusableError(f"{name!r} is no name of a picture below {folder}")
    return folder / name


def _reasons(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(": ".join(filter(None, (".".join(map(str, f["loc"])), f["msg"]))) for f in faults)
