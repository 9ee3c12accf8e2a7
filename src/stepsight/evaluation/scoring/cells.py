"""What pandas makes of a column of texts, since VLMEvalKit reads all its tables with it.

Three things follow that move scores, and are reproduced here:

    a text such as `NA`, `n/a`, `null`, `None` or nothing becomes "not a number": an option of that kind disappears
    from the prompt and from the matching, and a prediction becomes the text `nan`
    a column of which every text is a number becomes numbers: `05` is 5, and `4` above an empty cell is 4.0
    a column of `true` and `false` becomes truth values

Source: `pandas.read_csv(path, sep="\\t")` of pandas 3.1. Before 3.0 whole numbers beyond 64 bits stayed texts, and the
last digit of a float could be another. Not covered: tables of more rows than 2^20 divided by the number of columns, of
which pandas decides piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Cell = str | int | float | bool | None
"""A cell as pandas has it; None is "not a number"."""

NOT_A_NUMBER = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
"""The texts that pandas (2.0 and newer) takes for "not a number", to the letter; ` NA` is none of them."""

_BLANK = r"[ \t\n\v\f\r]*"
_INT = re.compile(rf"{_BLANK}([+-]?[0-9]+){_BLANK}")
_FLOAT = re.compile(
    # Digits are never matched by two parts that touch: that would take hours on a text of many digits.
    rf"{_BLANK}([+-]?(?:inf|infinity|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)){_BLANK}",
    re.IGNORECASE | re.ASCII,
)
_INT64 = range(-(1 << 63), 1 << 63)


def said(cell: Cell) -> str:
    """The cell as `str()` gives it in VLMEvalKit: `nan` where it is not a number."""
    return "nan" if cell is None else str(cell)


def as_read(column: Sequence[str]) -> list[Cell]:
    """The texts of one column as pandas would have them after reading."""
    known = [text for text in column if text not in NOT_A_NUMBER]
    gaps = len(known) < len(column)
    if not known:
        return [None] * len(column)
    return _as_ints(column, known, gaps) or _as_floats(column, known) or _as_truths(column, known) or _as_texts(column)


def _as_ints(column: Sequence[str], known: Sequence[str], gaps: bool) -> list[Cell] | None:
    if not all(_INT.fullmatch(text) for text in known):
        return None
    # Python itself refuses to read very long ones.
    numbers = [int(text) if len(text) < 60 else _INT64.stop for text in known]
    if not all(number in _INT64 for number in numbers):
        return _as_texts(column)
    return _filled(column, [float(number) for number in numbers] if gaps else numbers)


def _as_floats(column: Sequence[str], known: Sequence[str]) -> list[Cell] | None:
    if not all(_FLOAT.fullmatch(text) for text in known):
        return None
    return _filled(column, [float(text) for text in known])


def _as_truths(column: Sequence[str], known: Sequence[str]) -> list[Cell] | None:
    if not all(text.lower() in ("true", "false") for text in known):
        return None
    return _filled(column, [text.lower() == "true" for text in known])


def _as_texts(column: Sequence[str]) -> list[Cell]:
    return [None if text in NOT_A_NUMBER else text for text in column]


def _filled(column: Sequence[str], values: Sequence[Cell]) -> list[Cell]:
    """The values in the places of the texts that are something."""
    found = iter(values)
    return [None if text in NOT_A_NUMBER else next(found) for text in column]
