"""How long rows become, before their pictures are read: measured by their text, or guessed.

The number of a picture's tokens is decided by its size, which its header tells; what stands for it is found once per
size, with a blank picture. A picture that a camera has turned may get another number of tokens than its header says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from stepsight.data.staged_rows import StagedRow
from stepsight.training.encoding.chat import Exchange, written
from stepsight.training.encoding.exchange import prepared, tokens_of
from stepsight.training.encoding.families import layout_of
from stepsight.world.lessons import Span

Size = tuple[int, int] | None
"""Width and height of a row's picture, in pixels, or None without one."""

SAMPLED = 32
"""So many rows are measured to learn how many bytes of text make a token."""
COARSE = 64
"""Guesses are made alike for pictures whose sizes are the same in so many pixels."""


@dataclass(frozen=True)
class Length:
    """Tokens of a row, up to the end of its picture, and before the first that is learned."""

    tokens: int
    pictured: int
    given: int


class Lengths:
    """Measures and guesses how long rows become.

    Args:
        processor: of the model in training.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._sized = layout_of(processor).sized
        self._expansions: dict[Size, str] = {}
        self._frames: dict[tuple[int, bool, Size], int] = {}
        self._shown: dict[Size, int] = {}
        self._measured: list[tuple[int, int]] = []  # tokens beside the picture, and bytes of text

    def measure(self, row: StagedRow, size: Size) -> Length:
        """The length of a row, exact but for turned pictures.

        Raises:
            InputError, ModelError: as `encoding.encode_conversation`.
        """
        stretches = written(self.processor, exchanges_of(row), picture=size is not None, system=row.system)
        ids, weights, pictured = tokens_of(self.processor, stretches, self._expansion(size))
        given = next((place for place, weight in enumerate(weights) if weight and place), len(ids))
        return Length(len(ids), pictured, given)

    def most(self, row: StagedRow, size: Size) -> int:
        """Tokens that a row has at most: no token is less than a byte of text."""
        key = (len(row.exchanges), row.system is not None, self._alike(size))
        if key not in self._frames:
            short = [("-", (Span("-"),))] * len(row.exchanges)
            system = None if row.system is None else "-"
            stretches = written(self.processor, short, picture=size is not None, system=system)
            self._frames[key] = len(tokens_of(self.processor, stretches, self._expansion(size))[0])
        return self._frames[key] + _bytes(row)

    def guess(self, row: StagedRow, size: Size) -> int:
        """About how many tokens a row has; the first rows are measured for it.

        Raises:
            InputError, ModelError: as `measure`.
        """
        shown = self._tokens_of_picture(size)
        if len(self._measured) < SAMPLED:
            tokens = self.measure(row, size).tokens
            self._measured.append((tokens - shown, _bytes(row)))
            return tokens
        tokens, size_of_text = map(sum, zip(*self._measured, strict=True))
        return shown + round(_bytes(row) * tokens / size_of_text)

    def _tokens_of_picture(self, size: Size) -> int:
        if size is None:
            return 0
        width, height = (-(-side // COARSE) * COARSE for side in size)
        coarse = self._alike((width, height))
        if coarse not in self._shown:
            self._shown[coarse] = len(self.processor.tokenizer(self._expansion(coarse))["input_ids"])
        return self._shown[coarse]

    def _alike(self, size: Size) -> Size:
        """The size that stands for all that give the same tokens."""
        return size if size is None or self._sized else (COARSE, COARSE)

    def _expansion(self, size: Size) -> str:
        size = self._alike(size)
        if size is None:
            return ""
        if size not in self._expansions:
            self._expansions[size] = prepared(self.processor, Image.new("RGB", size))[0]
        return self._expansions[size]


def exchanges_of(row: StagedRow) -> list[Exchange]:
    """What is learned of a row: every reply."""
    return [(user, (Span(reply),)) for user, reply in row.exchanges]


def _bytes(row: StagedRow) -> int:
    return sum(len(user.encode()) + len(reply.encode()) for user, reply in row.exchanges) + len(
        (row.system or "").encode()
    )
