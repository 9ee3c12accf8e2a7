"""Answers parted into kinds: none is lost, and what is right stays right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage
from stepsight.reproduce.parts import kinds_of, parted

KINDS = ("a", "b", "c")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), max_size=30))
def test_every_answer_is_of_one_kind(answers: list[tuple[str, bool]]) -> None:
    figures = parted(answers, KINDS)
    assert [one.kind for one in figures] == [kind for kind in KINDS if kind in dict(answers)]
    assert all(one.share.n == len(answers) for one in figures)
    assert sum(one.accuracy.n for one in figures) == len(answers)
    right = sum(round((one.accuracy.value or 0) * one.accuracy.n) for one in figures)
    assert right == sum(right for _, right in answers)


def trace(id: str, text: str) -> Trace:
    said = Candidate(
        id=0, stage=None, slot=0, seed=0, piece=Piece(text=text, ids=None), finish=Finish.STOP, tokens=1, parent=None,
        logprob=None,
    )  # fmt: skip
    return Trace(
        question=Question(id=id, text="?"), strategy="greedy", judge=None, seed=0, settings={}, candidates=(said,),
        verdicts=(), chosen=(0,), usage=Usage(), seconds=0.0,
    )  # fmt: skip


def test_a_question_counts_once_and_only_if_its_answer_was_scored() -> None:
    traces = [trace("one", "a"), trace("two", "b"), trace("one", "c"), trace("failed", "a")]
    found = kinds_of(traces, {"one": True, "two": False}, lambda trace: trace.text)
    assert sorted(found) == [("b", False), ("c", True)]
