"""Columns of texts become what pandas makes of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.evaluation.scoring.cells import NOT_A_NUMBER, Cell, as_read, said


def by_pandas(column: Sequence[str]) -> list[Cell]:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("x", "y"), *((text, "k") for text in column)])
    read = pd.read_csv(io.StringIO(stream.getvalue()), sep="\t")["x"].tolist()
    return [None if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in read]


def alike(one: Cell, other: Cell) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=4e-16)
    return type(one) is type(other) and one == other


NOTHINGS = """#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null|"""


@pytest.mark.parametrize("text", NOTHINGS.split("|"))
def test_texts_that_are_not_a_number_disappear(text: str) -> None:
    assert as_read(["red", text]) == ["red", None] == by_pandas(["red", text])
    assert said(None) == "nan"


def test_texts_like_them_stay() -> None:
    assert len(NOT_A_NUMBER) == 19
    column = [" NA", "none", "NaN.", "Na", "N.A.", "nil", "None "]
    assert as_read(column) == column == by_pandas(column)


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (["4", ""], ["4.0", "nan"]),
        (["05", "6"], ["5", "6"]),
        (["+5", " 7 "], ["5", "7"]),
        (["4", "4.50"], ["4.0", "4.5"]),
        (["1e5", "2"], ["100000.0", "2.0"]),
        (["4", "four"], ["4", "four"]),
        (["1_0", "2"], ["1_0", "2"]),
        (["1,000", "2"], ["1,000", "2"]),
        (["inf", "1"], ["inf", "1.0"]),
        (["true", "FALSE"], ["True", "False"]),
        (["true", ""], ["True", "nan"]),
        (["true", "1"], ["true", "1"]),
        (["", "NA"], ["nan", "nan"]),
    ],
)
def test_a_column_of_one_kind_becomes_that_kind(column: list[str], wanted: list[str]) -> None:
    assert [said(cell) for cell in as_read(column)] == wanted == [said(cell) for cell in by_pandas(column)]


BLANK = st.sampled_from(["", "", " ", "\t", "\r", "\n"])
INTS = st.builds("".join, st.tuples(BLANK, st.integers(-(1 << 63), (1 << 63) - 1).map(str), BLANK))
SMALL = st.builds("".join, st.tuples(st.sampled_from(["", "0", "+", "-"]), st.integers(0, 10).map(str)))
FLOATS = st.from_regex(r"[+-]?[0-9]{0,17}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
NOTHING = st.sampled_from([*sorted(NOT_A_NUMBER), "NAN", "+nan"])
TRUTHS = st.sampled_from(["True", "false", "TRUE", "tRue", " true"])
INFINITE = st.sampled_from(["inf", "-Inf", "infinity", "+INF", "infin"])
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
COLUMNS = st.one_of(
    *(
        st.lists(st.one_of(*kinds), min_size=1, max_size=4)
        for kinds in (
            (INTS,),
            (INTS, NOTHING),
            (SMALL, NOTHING),
            (FLOATS, SMALL),
            (FLOATS, NOTHING, INFINITE),
            (TRUTHS, NOTHING),
            (WORDS, SMALL, NOTHING),
            (INTS, FLOATS, INFINITE, TRUTHS, NOTHING, WORDS),
        )
    )
)


@given(COLUMNS)
@settings(max_examples=200)
def test_any_column_is_read_as_pandas_reads_it(column: list[str]) -> None:
    read, wanted = as_read(column), by_pandas(column)
    assert all(alike(one, other) for one, other in zip(read, wanted, strict=True)), (column, read, wanted)


def test_whole_numbers_beyond_63_bits_stay_texts() -> None:
    assert as_read([str(1 << 63), "1"]) == [str(1 << 63), "1"]
    assert as_read(["9" * 5000]) == ["9" * 5000]


def test_a_text_of_many_digits_is_read_in_no_time() -> None:
    column = ["9" * 300_000 + "x", " " * 300_000 + "x", "1" * 300_000 + "." + "1" * 300_000 + "x"]
    assert as_read(column) == column
