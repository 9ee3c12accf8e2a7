"""Rows of tables (parquet, arrow): which columns are a question, and pictures that stand in the table.

    conversations                      LLaVA's rounds, or
    question, answer                   one round; `choices` (or `options`) make `answer` a text or a number from 0
    image                              a name, or {"bytes", "path"} as the library `datasets` stores it; `images` a list
    id, hint                           optional

Pictures in the table are written beside it, once, since a question names its picture as a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from stepsight.data.sources.conversations import conversation
from stepsight.data.sources.reading import Row, UnusableError, as_row, inside, one_round
from stepsight.data.sources.source import Reason, Sourced
from stepsight.data.sources.wording import check_choice, letter, lettered
from stepsight.errors import InputError, MissingExtraError
from stepsight.files import whole_file
from stepsight.records import Question

BATCH = 64
"""So many rows are in memory at a time: a row may hold a picture."""


class _Asked(Row):
    id: str | int | None = None
    question: str = Field(min_length=1)
    answer: str | int | float | None = None
    choices: list[str] | None = None
    options: list[str] | None = None
    hint: str | None = None


def arrow() -> Any:
    """The library that reads tables.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    return pyarrow


def scan_parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Each row of a parquet file as a mapping."""
    with path.open("rb") as stream:
        for batch in arrow().parquet.ParquetFile(stream).iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()


def table_row(value: Any, *, identity: str, source: str, folder: Path) -> Sourced:
    """A row of a table as a question; pictures it holds are written below `folder`/pictures.

    Raises:
        UnusableError: it has no picture, no answer, or a choice that is none.
        ValidationError: its columns are of other kinds.
    """
    images = [_image(one, folder) for one in _pictures(value)]
    if not images:
        raise UnusableError("the row has no picture", Reason.TEXT_ONLY)
    if value.get("conversations") is not None:
        names = [str(image.relative_to(folder)) for image in images]
        return conversation({**value, "image": names}, identity=identity, source=source, images=folder)
    row = as_row(_Asked, value)
    if row.answer is None or row.answer == "":
        raise UnusableError("the row has no answer", Reason.UNANSWERED)
    choices = row.choices or row.options or []
    place = _place(choices, row.answer) if choices else None
    answer = str(row.answer) if place is None else check_choice(choices, place)
    asked = row.question if place is None else lettered(row.question, choices)
    return Sourced(
        question=Question(
            id=identity,
            text=row.question,
            images=tuple(images),
            choices=tuple(choices),
            answer=answer,
            source=source,
            meta={} if row.id is None else {"id": row.id},
        ),
        turns=one_round(asked, answer if place is None else letter(place)),
        hint=row.hint or "",
    )


def _place(choices: list[str], answer: str | int | float) -> int:
    """Which choice is meant: by number from 0, by text, or by letter."""
    if isinstance(answer, int):
        return answer
    if str(answer) in choices:
        return choices.index(str(answer))
    letters = [letter(index) for index in range(min(len(choices), 26))]
    if str(answer).strip() in letters:
        return letters.index(str(answer).strip())
    raise UnusableError(f"the answer {answer!r} is none of the choices")


def _pictures(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        raise UnusableError("the row is no mapping of columns")
    found = value.get("image") if value.get("image") is not None else value.get("images")
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _image(found: Any, folder: Path) -> Path:
    if isinstance(found, str):
        return inside(folder, found)
    if not isinstance(found, dict):
        raise UnusableError(f"the picture is a {type(found).__name__}, neither a name nor bytes")
    data = found.get("bytes")
    if data is None:
        if not found.get("path"):
            raise UnusableError("the picture has neither bytes nor a path", Reason.IMAGE_MISSING)
        return inside(folder, str(found["path"]))
    if not data:
        raise UnusableError("the picture is empty", Reason.IMAGE_EMPTY)
    # Named by what it is: equal pictures are one file, and two rows cannot write over one another.
    name = hashlib.sha256(data).hexdigest()
    path = folder / "pictures" / name[:2] / f"{name[:32]}{_ending(data)}"
    if not path.exists():
        try:
            with whole_file(path) as stream:
                stream.write(data)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}", hint="free space there") from error
    return path


def _ending(data: bytes) -> str:
    endings = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
    return next((ending for start, ending in endings.items() if data.startswith(start)), ".img")
