"""What two texts do not share, word by word."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal, NamedTuple

AROUND = 3
"""So many shared words stay readable on each side of a difference; a longer shared run is cut in its middle."""


class Run(NamedTuple):
    """A stretch of words: `same` in both texts, only in the `first`, or only in the `second`."""

    where: Literal["same", "first", "second"]
    words: str


def differences(first: str, second: str) -> tuple[Run, ...]:
    """Align two texts by words; white space does not count."""
    one, other = first.split(), second.split()
    runs: list[Run] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            runs.append(Run("same", " ".join(one[a:b])))
            continue
        if a < b:
            runs.append(Run("first", " ".join(one[a:b])))
        if c < d:
            runs.append(Run("second", " ".join(other[c:d])))
    return tuple(runs)


def shortened(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Cut long shared runs, so that what differs fits on a line or two."""
    last = len(runs) - 1
    return tuple(
        Run(run.where, _cut(run.words, before=index > 0, after=index < last)) if run.where == "same" else run
        for index, run in enumerate(runs)
    )


def _cut(words: str, *, before: bool, after: bool) -> str:
    """Keep the words next to a difference `before` and `after` the run."""
    split = words.split()
    head, tail = AROUND * before, AROUND * after
    if len(split) <= head + tail + 1:
        return words
    return " ".join([*split[:head], "…", *split[len(split) - tail :]])
