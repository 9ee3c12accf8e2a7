"""Word differences lose nothing, and say which text a word comes from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepsight.reports.differences import AROUND, Run, differences, shortened

words = st.lists(st.sampled_from(["a", "red", "blue", "cube", "ball", "two", "3"]), max_size=30)


@given(words, words)
def test_both_texts_can_be_read_back(first: list[str], second: list[str]) -> None:
    runs = differences(" ".join(first), "\n ".join(second))
    assert " ".join(run.words for run in runs if run.where != "second").split() == first
    assert " ".join(run.words for run in runs if run.where != "first").split() == second


@given(words, words)
def test_shortening_keeps_every_difference(first: list[str], second: list[str]) -> None:
    runs = differences(" ".join(first), " ".join(second))
    short = shortened(runs)
    assert [run for run in short if run.where != "same"] == [run for run in runs if run.where != "same"]
    assert all(len(run.words.split()) <= 2 * AROUND + 1 for run in short if run.where == "same")


def test_one_changed_word_is_found() -> None:
    runs = differences("one two three four five six seven red ball", "one two three four five six seven blue ball")
    assert shortened(runs) == (
        Run("same", "… five six seven"),
        Run("first", "red"),
        Run("second", "blue"),
        Run("same", "ball"),
    )
