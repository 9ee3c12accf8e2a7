"""Rows of the public dataset's format (`stepsight.data.staged_rows`) as a dataset to learn from.

Every row that cannot be learned from is set aside before training starts. Packing, and rows with several pictures, are
not covered.
"""

from __future__ import annotations

import logging
import random
from typing import Any

from torch.utils.data import Dataset

from stepsight.data.staged_rows import read_rows
from stepsight.errors import InputError, PictureError
from stepsight.pictures import load_picture
from stepsight.training.encoding import Encoded, encode_conversation
from stepsight.training.recipe_data import StagedRows
from stepsight.world.lessons import Span

logger = logging.getLogger(__name__)


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
