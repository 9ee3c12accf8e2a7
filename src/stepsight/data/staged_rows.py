"""Rows in the format of the public dataset LLaVA-CoT-100k, and the reader that sets unsound ones aside.

    {"id": "...", "image": "sqa/train/8125/image.png", "conversations": [{"from": "human", "value": "..."},
     {"from": "gpt", "value": "<SUMMARY> ... </CONCLUSION>"}, ...]}

Source: the file `train.jsonl` of Xkev/LLaVA-CoT-100k (98,582 rows). A first turn `"from": "system"`, as other datasets
of this format have, is read as well. Rows with several pictures are not covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from stepsight.data.row_pictures import BadPicture, PictureFault, size_of
from stepsight.errors import InputError, RecordError
from stepsight.jsonl import scan_lines
from stepsight.records import Record
from stepsight.stages import parse

PLACEHOLDER = "<image>"
"""Where some files of this format mark the picture's place; chat templates put it first instead."""

TRAIN = "train.jsonl"
"""The name of the file of rows in a dataset's folder."""


class Said(BaseModel):
    """One turn of a row."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    speaker: Literal["system", "human", "gpt"] = Field(alias="from")
    value: str


class StagedRow(BaseModel):
    """One row; keys that other datasets of this format add are left alone."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    id: str
    image: str | None = None
    conversations: tuple[Said, ...]

    @model_validator(mode="after")
    def _alternate(self) -> StagedRow:
        speakers = [said.speaker for said in self.conversations]
        if speakers[:1] == ["system"]:
            del speakers[0]
        if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
            raise ValueError("conversations must be pairs of human and gpt, behind one system turn at most")
        for said in self.conversations:
            if said.speaker == "gpt" and not said.value.strip():
                raise ValueError("a reply is blank, so there is nothing to learn")
            if said.speaker == "gpt" and PLACEHOLDER in said.value:
                raise ValueError(f"a reply contains {PLACEHOLDER}")
        return self

    @model_serializer(mode="plain")
    def _as_published(self) -> dict[str, Any]:
        # A row about no picture has no key `image` in the public files, not a null.
        image = {} if self.image is None else {"image": self.image}
        turns = [{"from": said.speaker, "value": said.value} for said in self.conversations]
        return {"id": self.id, **image, "conversations": turns}

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Pairs of user and assistant text, stripped, without marks of the picture's place."""
        said = [one for one in self.conversations if one.speaker != "system"]
        texts = [one.value.replace(PLACEHOLDER, "").strip() for one in said]
        return list(zip(texts[::2], texts[1::2], strict=True))

    @property
    def system(self) -> str | None:
        """The text of the system turn, stripped, or None without one."""
        first = self.conversations[0]
        return first.value.strip() or None if first.speaker == "system" else None

    @property
    def source(self) -> str:
        """Where its picture comes from, as the first folder of its path says: `chartqa`, `coco`, `sqa`, ..."""
        if self.image is None:
            return "text only"
        folder, slash, _ = self.image.partition("/")
        return folder if slash else "no folder"


class RowFault(StrEnum):
    """Why a row is set aside, beside `PictureFault`."""

    MALFORMED = "malformed_row"
    FORMAT = "format"


class SetAside(Record):
    """A row that was set aside, with its place; `id` is empty where the row cannot be read that far."""

    file: str
    line: int
    id: str = ""
    kind: RowFault | PictureFault
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class PlacedRow:
    """A row, the number of its line (of its row in a table, from 1), and the width and height of its picture."""

    line: int
    row: StagedRow
    size: tuple[int, int] | None = None


def scan_rows(
    path: Path, images: Path, *, staged: bool = False, decode: bool = False
) -> Iterator[PlacedRow | SetAside]:
    """Each row of a file in turn, or why it is set aside; memory holds one at a time.

    Args:
        path: rows in the public format.
        images: the folder that `image` paths start from.
        staged: replies must be whole staged answers.
        decode: pictures are decoded, not only their headers read; a picture that is cut short shows no other way.

    Raises:
        RecordError: the file cannot be read.
    """
    for line, row in scan_lines(path, StagedRow):
        if isinstance(row, RecordError):
            yield SetAside(file=path.name, line=line, kind=RowFault.MALFORMED, reason=str(row))
            continue
        fault = format_fault(row) if staged else None
        if fault is not None:
            reason = f"{path}, line {line}, row {row.id}: {fault}"
            yield SetAside(file=path.name, line=line, id=row.id, kind=RowFault.FORMAT, reason=reason)
            continue
        size = None if row.image is None else size_of(images, row.image, decode=decode)
        if isinstance(size, BadPicture):
            reason = f"{path}, line {line}, row {row.id}: {size.detail}"
            yield SetAside(file=path.name, line=line, id=row.id, kind=size.kind, reason=reason)
            continue
        yield PlacedRow(line, row, size)


def format_fault(row: StagedRow) -> str | None:
    """What is wrong with the first reply of a row that is no whole staged answer; None if there is none."""
    for number, (_, reply) in enumerate(row.exchanges, start=1):
        parsed = parse(reply)
        if not parsed.valid:
            return f"reply {number}: {'; '.join(fault.detail for fault in parsed.faults)}"
    return None


@dataclass(frozen=True)
class ReadRows:
    """The rows to learn from, and one error for each row that was set aside."""

    rows: tuple[StagedRow, ...]
    faults: tuple[RecordError, ...]


def read_rows(path: Path, images: Path) -> ReadRows:
    """Read a file of rows and look at the header of every picture.

    Raises:
        RecordError: the file cannot be read.
        InputError: no row is left.
    """
    rows = []
    faults = []
    for one in scan_rows(path, images):
        if isinstance(one, SetAside):
            faults.append(RecordError(one.reason))
        else:
            rows.append(one.row)
    if not rows:
        first = f"; the first of {len(faults)} faults: {faults[0]}" if faults else ""
        raise InputError(f"{path} has no row to learn from{first}", hint="check `rows` and `images` of the recipe")
    return ReadRows(tuple(rows), tuple(faults))


def dataset_files(dataset: Path, images: Path | None) -> tuple[Path, Path]:
    """The file of rows and the folder of pictures of a dataset given as either file or folder.

    Raises:
        InputError: there is no file of rows.
    """
    rows = dataset / TRAIN if dataset.is_dir() else dataset
    if not rows.is_file():
        raise InputError(f"there is no file {rows}", hint=f"give a JSON-lines file, or a folder that holds {TRAIN}")
    return rows, images or rows.parent
