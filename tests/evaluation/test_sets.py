"""A set of questions is drawn once, or read, and says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stepsight.errors import InputError, PictureError
from stepsight.evaluation.sets import QuestionSet, questions_of
from stepsight.world.questions import MULTI_STEP
from stepsight.world.split import save_split


def test_a_set_is_drawn_once(tmp_path: Path) -> None:
    wanted = QuestionSet(name="mine", split="hard", seed=3, count=4, families="multi-step")
    first = questions_of(wanted, tmp_path)
    assert len(first) == 4
    assert {question.meta["family"] for question in first} <= set(MULTI_STEP)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert questions_of(wanted, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    first[0].images[0].write_bytes(b"")
    with pytest.raises(PictureError):
        questions_of(wanted, tmp_path)


def test_a_set_is_the_beginning_of_a_file(tmp_path: Path) -> None:
    path = save_split("test", seed=3, count=3, out=tmp_path / "drawn")
    assert len(questions_of(QuestionSet(name="all", file=path), tmp_path)) == 3
    assert len(questions_of(QuestionSet(name="two", file=path, count=2), tmp_path)) == 2
    with pytest.raises(InputError, match="no such file"):
        questions_of(QuestionSet(name="none", file=tmp_path / "none.jsonl"), tmp_path)


def test_a_set_says_what_it_is() -> None:
    drawn = QuestionSet(name="a", split="test", seed=9, count=1000, families="multi-step")
    assert drawn.described == "1,000 questions of `test` of the multi-step families, seed 9"
    assert QuestionSet(name="a", file=Path("b.jsonl"), count=7).described == "b.jsonl, the first 7"


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "a/b", "split": "test", "count": 1},
        {"name": "a", "split": "train", "count": 1},
        {"name": "a", "split": "test"},
        {"name": "a"},
        {"name": "a", "split": "test", "count": 1, "file": "b"},
        {"name": "a", "file": "b", "families": "multi-step"},
    ],
)
def test_what_makes_no_sense_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QuestionSet.model_validate(fault)
