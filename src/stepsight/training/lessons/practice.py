"""Lessons of the world as a dataset: every index has its lesson for ever, so a run resumes where it stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch.utils.data import Dataset

from stepsight.prompts.judge import judge_prompts
from stepsight.training.encoding.exchange import Encoded, check_stretch, encode_exchange, mark_tokens, stretch
from stepsight.training.recipe.data import WorldLessons
from stepsight.world.corruption import EVERY_FAULT, LONG_FAULTS, OWN_FAULTS
from stepsight.world.lessons import draw_lesson

WINDOW = 8
"""Batches that are drawn together and sorted by length, so that little is spent on padding."""
FAULTS = {"every": EVERY_FAULT, "own": OWN_FAULTS, "long": LONG_FAULTS}


T = TypeVar("T")


def by_length(rows: Sequence[T], batch: int, rng: random.Random, length: Callable[[T], int]) -> list[T]:
    """Rows in an order in which every batch holds rows of like length; batches come in random order.

    The last rows that fill no batch stay last.
    """
    whole = len(rows) // batch * batch
    ordered = sorted(rows[:whole], key=length)
    batches = [ordered[start : start + batch] for start in range(0, whole, batch)]
    rng.shuffle(batches)
    return [row for one in batches for row in one] + list(rows[whole:])


class Windows(Dataset[Encoded]):
    """`length` rows, to be read in order: batches hold rows of like length, and come in random order."""

    def __init__(self, *, seed: int, batch: int, length: int) -> None:
        self.seed, self.batch, self.length = seed, batch, length
        self._window: tuple[int, Sequence[Encoded]] = (-1, ())

    def draw(self, number: int, size: int, rng: random.Random) -> list[Encoded]:
        """The `size` rows of a window, in any order."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Encoded:
        size = self.batch * WINDOW
        number, place = divmod(index, size)
        if self._window[0] != number:
            self._window = (number, self._draw_window(number, size))
        return self._window[1][place]

    def _draw_window(self, number: int, size: int) -> list[Encoded]:
        rng = random.Random(f"practice:{self.seed}:{number}")
        return by_length(self.draw(number, size, rng), self.batch, rng, lambda row: len(row.ids))


class Practice(Windows):
    """Lessons drawn from the world while training goes on."""

    def __init__(self, lessons: WorldLessons, processor: Any, *, batch: int, length: int) -> None:
        super().__init__(seed=lessons.seed, batch=batch, length=length)
        self.lessons, self.processor = lessons, processor
        self.prompts = judge_prompts(lessons.judge_prompts)
        if lessons.stretched:
            check_stretch(processor)

    def draw(self, number: int, size: int, rng: random.Random) -> list[Encoded]:
        """Lessons of the mixture's kinds."""
        kinds = rng.choices(list(self.lessons.mixture), list(self.lessons.mixture.values()), k=size)
        rows = []
        for place, kind in enumerate(kinds):
            lesson = draw_lesson(
                kind,
                seed=self.lessons.seed,
                index=number * size + place,
                prompts=self.prompts,
                verdict_weight=self.lessons.verdict_weight,
                option_weight=self.lessons.option_weight,
                muddled=self.lessons.muddled,
                crowded=self.lessons.crowded,
                faults=FAULTS[self.lessons.faults],
            )
            row = encode_exchange(self.processor, lesson.user, lesson.picture, lesson.spans)
            if self.lessons.marks:
                row = mark_tokens(self.processor.tokenizer, row, lesson.user, lesson.marks)
            chance = random.Random(f"stretch:{self.lessons.seed}:{number * size + place}")
            if chance.random() < self.lessons.stretched:
                row = stretch(row, chance)
            rows.append(row)
        return rows
