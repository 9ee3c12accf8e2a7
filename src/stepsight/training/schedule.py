"""How many steps a run takes, and how the learning rate falls by the epoch."""

from __future__ import annotations

import math

from stepsight.training.recipe.steps import Optimisation


def count_steps(how: Optimisation, rows: int) -> int:
    """The steps of a run: those of the recipe, or as many as its epochs over so many rows take.

    The last batch is filled up with the first rows of the next epoch.
    """
    if how.steps is not None:
        return how.steps
    assert how.epochs is not None
    return max(1, math.ceil(how.epochs * rows / how.batch))


class FallingByEpoch:
    """What the peak learning rate is multiplied by: `gamma` for every epoch that is over (StepLR, as in the paper).

    It rises before over `warmup` steps, as the library's other schedules do.

    Args:
        how: of the recipe.
        rows: of an epoch.
    """

    def __init__(self, how: Optimisation, rows: int) -> None:
        self.gamma, self.warmup, self.batch, self.rows = how.gamma, how.warmup, how.batch, rows

    def __call__(self, step: int) -> float:
        """The factor of a step, counted from 0."""
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        return float(rise * self.gamma ** (step * self.batch // self.rows))
