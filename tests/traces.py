"""Traces of every shape for property tests: odd texts, infinities, NaN, things that are None."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from stepsight.records import (
    Candidate,
    Comparison,
    Finish,
    Piece,
    Question,
    Spending,
    Trace,
    Usage,
    Verdict,
)
from stepsight.stages import Stage

# Surrogates are no characters; UTF-8 cannot hold them.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
whole = st.integers(-(2**63), 2**63 - 1)
some = st.integers(0, 9)
numbers = st.floats()
stages = st.none() | st.sampled_from(Stage)
free = st.dictionaries(
    words,
    st.recursive(
        st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | words,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
questions = st.builds(
    Question,
    id=words,
    text=words.filter(bool),
    images=st.lists(st.sampled_from([Path("a b/ü.png"), Path("c.jpg")]), max_size=2).map(tuple),
    choices=st.lists(words, max_size=2).map(tuple),
    answer=st.none() | words,
    source=words,
    meta=free,
)
pieces = st.builds(Piece, text=words, ids=st.none() | st.lists(whole, max_size=3).map(tuple))
candidates = st.builds(
    Candidate,
    id=some,
    stage=stages,
    slot=some,
    seed=whole,
    piece=pieces,
    finish=st.sampled_from(Finish),
    tokens=some,
    parent=st.none() | some,
    logprob=st.none() | numbers,
    sentence=st.booleans(),
)
comparisons = st.builds(
    Comparison,
    first=some,
    second=some,
    outcome=st.sampled_from(["first", "second", "tie", "unreadable"]),
    reason=words,
    evidence=free,
)
verdicts = st.builds(
    Verdict,
    judge=words,
    stage=stages,
    order=st.lists(some, min_size=1, max_size=3).map(tuple),
    scores=st.none() | st.lists(numbers, max_size=3).map(tuple),
    comparisons=st.lists(comparisons, max_size=2).map(tuple),
    evidence=free,
    ties=some,
    tokens=some,
)
spendings = st.builds(
    Spending,
    tokens=st.none() | some,
    seconds=st.none() | st.floats(0, 9),
    ended_by=st.sampled_from(["done", "seconds"]),
    left=st.dictionaries(st.sampled_from(["tokens", "seconds"]), st.floats(0, 9)),
)
traces = st.builds(
    Trace,
    question=questions,
    strategy=words,
    judge=st.none() | words,
    seed=whole,
    settings=free,
    candidates=st.lists(candidates, max_size=3).map(tuple),
    verdicts=st.lists(verdicts, max_size=2).map(tuple),
    chosen=st.lists(some, max_size=3).map(tuple),
    usage=st.builds(Usage, kept=some, discarded=some, judge=some, cached=some),
    seconds=numbers,
    spending=st.none() | spendings,
)
