"""Answers without tags are told by their paragraphs, however these are set apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.reproduce.paragraphs import ALL_FOUR, FEWER, MORE, paragraphs, paragraphs_of

words = st.text(alphabet="ab .", min_size=1).filter(str.strip)


@given(st.lists(words, max_size=7), st.sampled_from(["\n\n", "\n\n\n\n", "\n\n \n\n"]))
def test_paragraphs_are_what_holds_something(texts: list[str], between: str) -> None:
    text = between.join(texts)
    assert paragraphs(text) == [one.strip() for one in texts]
    assert paragraphs_of(text) == (ALL_FOUR if len(texts) == 4 else FEWER if len(texts) < 4 else MORE)


@pytest.mark.parametrize("text", ["", "\n\n", " \n\n \n\n"])
def test_nothing_has_no_paragraph(text: str) -> None:
    assert paragraphs(text) == []
