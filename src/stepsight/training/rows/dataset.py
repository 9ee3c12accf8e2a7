"""Rows of the public dataset's format (`stepsight.data.staged_rows`) as a dataset to learn from.

    all rows are looked at before training starts: their form, their picture's header, and their length if it matters
      -> unsound ones are set aside, those that are too long cut or left out, each kind counted
    an epoch has every row once (packed: every pack), in an order that the seed decides
      -> a row is read, its picture prepared and the whole encoded when it is its turn, by the process that needs it

Rows with several pictures are not covered.
"""

from __future__ import annotations

import logging
import random
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import Dataset

from stepsight.data.staged_rows import PlacedRow, SetAside
from stepsight.errors import InputError, RecordError, TooLongError
from stepsight.training.encoding.exchange import Encoded, encode_conversation
from stepsight.training.lessons.practice import WINDOW, by_length
from stepsight.training.recipe.data import StagedRows
from stepsight.training.rows.files import BUNDLE, open_rows
from stepsight.training.rows.lengths import Lengths, exchanges_of
from stepsight.training.rows.packing import check_cut, check_packing, cut, join, pack

logger = logging.getLogger(__name__)

MOST_PASSED = 100
"""So many rows that follow each other may be impossible to read before a run ends."""


class StagedDataset(Dataset[Encoded]):
    """Rows to be read in order: whole epochs, each in an order of its own.

    Args:
        data: which rows, and how.
        processor: of the model in training.
        batch: rows of a step, over all devices: as many, beginning with row 0, are of like length if `data` says so.
        length: rows to be read in all; one epoch unless given.

    Attributes:
        per_epoch: rows of an epoch (packed: packs).
        rows: the numbers of the rows that are left, which `open_rows` reads.
        faults: one error for each row that is unsound.
        cut, left_out: how many rows are longer than `data.context`, and are cut behind it, or left out.
        pictured: how many rows have a picture; if not all have, a batch may be without any.

    Raises:
        InputError: no row is left.
        RecordError: the file cannot be read.
        ModelError: the family's rows cannot be made exactly, or not be packed.
    """

    def __init__(self, data: StagedRows, processor: Any, *, batch: int = 1, length: int | None = None) -> None:
        self.data, self.processor, self.batch = data, processor, batch
        if data.packed:
            check_packing(processor)
        self.faults: list[RecordError] = []
        self.rows = array("q")
        self.cut = self.left_out = self.pictured = 0
        self._file = open_rows(data.rows, data.images)
        self._lengths = array("q")
        self._look(Lengths(processor))
        self._chunks, self._packs = self._laid_out()
        self.per_epoch = sum(map(len, self._chunks))
        self.length = self.per_epoch if length is None else length
        self._epoch: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Encoded:
        # A picture whose header is sound can still be damaged: the next row takes its place, for a run of days must
        # not end on one bad file.
        reasons: list[str] = []
        for later in range(index, index + min(self.per_epoch, MOST_PASSED)):
            found = [row for number in self._numbers(later) if (row := self._encoded(number, reasons)) is not None]
            if found:
                return join(self.processor, found) if self.data.packed else found[0]
        raise InputError(f"not one of {len(reasons)} rows can be read; the last: {reasons[-1]}", hint="check the rows")

    def _look(self, lengths: Lengths) -> None:
        """Look at all rows."""
        for one in self._file.scan():
            if isinstance(one, SetAside):
                self.faults.append(RecordError(one.reason))
                continue
            try:
                self._lengths.append(self._length(one, lengths))
            except TooLongError:
                self.left_out += 1
                continue
            except InputError as error:
                self.faults.append(RecordError(f"{self.data.rows}, line {one.line}, row {one.row.id}: {error}"))
                continue
            self.rows.append(one.line)
            self.pictured += one.row.image is not None
        if self.cut or self.left_out:
            logger.warning(
                "rows longer than %d tokens: %d are cut, %d left out", self.data.context, self.cut, self.left_out
            )
        if not self.rows:
            first = f"; the first of {len(self.faults)} faults: {self.faults[0]}" if self.faults else ""
            if self.left_out:
                first += f"; {self.left_out} rows are longer than {self.data.context} tokens"
            raise InputError(
                f"{self.data.rows} has no row to learn from{first}",
                hint="check `rows`, `images` and `context` of the recipe",
            )

    def _length(self, one: PlacedRow, lengths: Lengths) -> int:
        """How long a row will be; a guess, or nothing, where that is enough.

        Raises:
            TooLongError: it is to be left out.
            InputError: it cannot be encoded.
        """
        context = self.data.context
        if context is not None and (self.data.packed or lengths.most(one.row, one.size) > context):
            found = lengths.measure(one.row, one.size)
            if found.tokens <= context:
                return found.tokens
            if self.data.too_long == "leave_out":
                raise TooLongError(f"it has {found.tokens} tokens")
            check_cut(found.pictured, found.given, context)
            self.cut += 1
            return context
        return lengths.guess(one.row, one.size) if self.data.sorted_by_length else 0

    def _laid_out(self) -> tuple[list[list[int]], list[list[int]]]:
        """By chunk of the file the places of rows, or the numbers of packs; and the places of rows in each pack."""
        chunks: dict[int, list[int]] = {}
        for place, number in enumerate(self.rows):
            chunks.setdefault(self._file.chunk_of(number), []).append(place)
        if not self.data.packed:
            return list(chunks.values()), []
        packs: list[list[int]] = []
        packed = []
        for places in chunks.values():
            made = pack([self._lengths[place] for place in places], self.data.context or 0)
            packed.append(list(range(len(packs), len(packs) + len(made))))
            packs += [[places[one] for one in together] for together in made]
        return packed, packs

    def _numbers(self, index: int) -> Iterator[int]:
        """The numbers of the rows that are read as `index`."""
        epoch, place = divmod(index, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(epoch))
        item = self._epoch[1][place]
        return (self.rows[place] for place in (self._packs[item] if self.data.packed else [item]))

    def _order(self, epoch: int) -> list[int]:
        rng = random.Random(f"rows:{self.data.seed}:{epoch}")
        chunks = list(self._chunks)
        if len(chunks) > 1:
            rng.shuffle(chunks)
        order: list[int] = []
        for start in range(0, len(chunks), BUNDLE):
            bundle = [item for chunk in chunks[start : start + BUNDLE] for item in chunk]
            rng.shuffle(bundle)
            order += bundle
        if not self.data.sorted_by_length or self.data.packed:
            return order
        # The epoch before may have left a batch to be filled.
        head = min(-epoch * self.per_epoch % self.batch, len(order))
        return [*order[:head], *self._sorted(order[head:], rng)]

    def _sorted(self, order: list[int], rng: random.Random) -> Iterable[int]:
        size = self.batch * WINDOW
        for start in range(0, len(order), size):
            yield from by_length(order[start : start + size], self.batch, rng, self._lengths.__getitem__)

    def _encoded(self, number: int, reasons: list[str]) -> Encoded | None:
        """A row, or None with the reason if it cannot be read."""
        context = self.data.context
        try:
            row, picture = self._file.read(number)
            encoded = encode_conversation(self.processor, exchanges_of(row), picture, system=row.system)
            return encoded if context is None else cut(encoded, context)
        except RecordError:
            raise
        except InputError as error:
            reasons.append(f"{self.data.rows}, line {number}: {error}")
            logger.warning("a row is passed over: %s", reasons[-1])
            return None
