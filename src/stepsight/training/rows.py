"""Rows of a file in the format of the public dataset LLaVA-CoT-100k as a dataset.

    {"id": "...", "image": "sqa/train/8125/image.png", "conversations": [{"from": "human", "value": "..."},
     {"from": "gpt", "value": "<SUMMARY> ... </CONCLUSION>"}, ...]}

Every row that cannot be learned from is set aside before training starts. Packing, and rows with several pictures, are
not covered.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch.utils.data import Dataset

from stepsight.errors import InputError, PictureError, RecordError
from stepsight.jsonl import sift_jsonl
from stepsight.pictures import check_picture, load_picture
from stepsight.training.encoding import Encoded, encode_conversation
from stepsight.training.recipe import StagedRows
from stepsight.world.lessons import Span

logger = logging.getLogger(__name__)

PLACEHOLDER = "<image>"
"""Where some files of this format mark the picture's place; the chat template puts it first instead."""


class Said(BaseModel):
    """One turn of a row."""

    model_config = ConfigDict(frozen=True)

    speaker: Literal["human", "gpt"] = Field(alias="from")
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
        if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
            raise ValueError("conversations must be pairs of human and gpt")
        for said in self.conversations:
            if said.speaker == "gpt" and not said.value.strip():
                raise ValueError("a reply is blank, so there is nothing to learn")
            if said.speaker == "gpt" and PLACEHOLDER in said.value:
                raise ValueError(f"a reply contains {PLACEHOLDER}")
        return self

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Pairs of user and assistant text, stripped, without marks of the picture's place."""
        texts = [said.value.replace(PLACEHOLDER, "").strip() for said in self.conversations]
        return list(zip(texts[::2], texts[1::2], strict=True))


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
    sifted = sift_jsonl(path, StagedRow)
    rows = []
    faults = list(sifted.faults)
    for row in sifted.rows:
        try:
            if row.image is not None:
                check_picture(images / row.image)
        except PictureError as error:
            faults.append(RecordError(f"{path}, row {row.id}: {error}"))
        else:
            rows.append(row)
    if not rows:
        first = f"; the first of {len(faults)} faults: {faults[0]}" if faults else ""
        raise InputError(f"{path} has no row to learn from{first}", hint="check `rows` and `images` of the recipe")
    return ReadRows(tuple(rows), tuple(faults))


class StagedDataset(Dataset[Encoded]):
    """`length` rows to be read in order: whole epochs, each in an order of its own that the seed decides."""

    def __init__(self, data: StagedRows, processor: Any, *, length: int) -> None:
        read = read_rows(data.rows, data.images)
        self.rows, self.faults = read.rows, read.faults
        self.images, self.seed, self.processor, self.length = data.images, data.seed, processor, length
        self._epoch: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Encoded:
        # A picture whose header is sound can still be damaged: the next row takes its place, for a run of days must
        # not end on one bad file. A row that cannot be encoded at all is another matter, and raises.
        for later in range(index, index + len(self.rows)):
            row = self.rows[self._place(later)]
            try:
                picture = None if row.image is None else load_picture(self.images / row.image)
            except PictureError as error:
                logger.warning("row %s is passed over: %s", row.id, error)
                continue
            exchanges = [(user, (Span(reply),)) for user, reply in row.exchanges]
            return encode_conversation(self.processor, exchanges, picture)
        raise InputError("not one picture can be decoded", hint="check `images` of the recipe")

    def _place(self, index: int) -> int:
        epoch, place = divmod(index, len(self.rows))
        if self._epoch[0] != epoch:
            order = list(range(len(self.rows)))
            random.Random(f"rows:{self.seed}:{epoch}").shuffle(order)
            self._epoch = (epoch, order)
        return self._epoch[1][place]
