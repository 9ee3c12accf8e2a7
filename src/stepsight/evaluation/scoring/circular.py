"""Circular evaluation: a question asked once for every turn of its options is right if every turn is.

Source: `mcq_circular_eval` in vlmeval/dataset/utils/multiple_choice.py of open-compass/VLMEvalKit.
"""

from __future__ import annotations

from collections.abc import Sequence

TURN = 1_000_000
"""The copies of question 7 have the indices 7, 1000007, 2000007, ..., unless a column `g_index` says otherwise."""

CIRCULAR_NAMES = ("mmbench", "ccbench", "circular", "mmcr")


def is_circular(dataset: str) -> bool:
    """Whether a data set of this name is scored in circles."""
    return any(part in dataset.lower() for part in CIRCULAR_NAMES)


def circles(indices: Sequence[int], bases: Sequence[int | None]) -> dict[int, list[int]]:
    """The places of each group's rows, by the index of its base row; a group whose base row is absent does not count.

    Args:
        indices: of the rows that were answered.
        bases: what the column `g_index` says of each row, None where there is none.
    """
    groups: dict[int, list[int]] = {}
    for place, (index, base) in enumerate(zip(indices, bases, strict=True)):
        groups.setdefault(index % TURN if base is None else base, []).append(place)
    present = set(indices)
    own = {index: index % TURN if base is None else base for index, base in zip(indices, bases, strict=True)}
    return {base: places for base, places in groups.items() if base in present and own[base] == base}


def all_right(values: Sequence[float | None]) -> float | None:
    """1 if every value is, 0 if one is wrong, None if none is wrong and one could not be scored."""
    if any(value is not None and not value for value in values):
        return 0.0
    return None if any(value is None for value in values) else 1.0
