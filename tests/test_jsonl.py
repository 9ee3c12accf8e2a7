"""Records survive JSON lines; a malformed row is named by file and line and spoils only itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import RecordError
from stepsight.jsonl import append_jsonl, read_jsonl, sift_jsonl, write_jsonl
from stepsight.records import Candidate, Finish, Piece, Question

# Surrogates are no characters; UTF-8 cannot hold them.
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
questions = st.builds(
    Question, id=words, text=words, answer=st.none() | words, choices=st.lists(words, max_size=3).map(tuple)
)


def question(name: str) -> Question:
    return Question(id=name, text="How many?", images=(Path("a.png"),), meta={"n": 1})


@given(st.lists(questions, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, records: list[Question]) -> None:
    path = tmp_path_factory.mktemp("rows") / "questions.jsonl"
    assert write_jsonl(path, records) == len(records)
    assert read_jsonl(path, Question) == records
    assert path.read_bytes().count(b"\n") == len(records)


@pytest.mark.parametrize("logprob", [float("-inf"), -1.25, None])
def test_a_log_probability_may_be_infinite(tmp_path: Path, logprob: float | None) -> None:
    candidate = Candidate(
        id=0, stage=None, slot=0, seed=1, piece=Piece(text="a"), finish=Finish.STOP, tokens=1, logprob=logprob
    )
    write_jsonl(tmp_path / "c.jsonl", [candidate])
    assert read_jsonl(tmp_path / "c.jsonl", Candidate) == [candidate]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    write_jsonl(path, [question("old")])

    def failing() -> Iterator[Question]:
        yield question("new")
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_jsonl(path, failing())
    assert read_jsonl(path, Question) == [question("old")]


def test_appending_adds_at_the_end_and_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "q.jsonl"
    assert append_jsonl(path, [question("1")]) == 1
    assert append_jsonl(path, [question("2"), question("3")]) == 2
    assert [row.id for row in read_jsonl(path, Question)] == ["1", "2", "3"]


def test_each_appended_record_is_written_before_the_next_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"

    def records() -> Iterator[Question]:
        yield question("1")
        assert len(read_jsonl(path, Question)) == 1
        yield question("2")

    append_jsonl(path, records())


def test_appending_after_a_torn_line_loses_only_that_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    write_jsonl(path, [question("1"), question("2")])
    path.write_bytes(path.read_bytes()[:-20])
    append_jsonl(path, [question("3")])
    sifted = sift_jsonl(path, Question)
    assert [row.id for row in sifted.rows] == ["1", "3"]
    assert len(sifted.faults) == 1


BAD = [b"{not json", b'{"id": "x"}', b'{"id": "x", "text": "y", "colour": 1}', b"\xff\xfe", b"[]", b"null"]


@pytest.mark.parametrize("row", BAD)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "q.jsonl"
    good = question("1").model_dump_json().encode()
    path.write_bytes(good + b"\n\n" + row + b"\n" + good)
    with pytest.raises(RecordError, match=r"q\.jsonl, line 3: not a Question"):
        read_jsonl(path, Question)
    sifted = sift_jsonl(path, Question)
    assert sifted.rows == (question("1"), question("1"))
    assert [str(fault) for fault in sifted.faults] == [str(sifted.faults[0])]


def test_the_reason_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(BAD[2])
    with pytest.raises(RecordError, match="colour"):
        read_jsonl(path, Question)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    row = question("1").model_dump_json().encode()
    path.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n" + row + b"\r\n")
    assert read_jsonl(path, Question) == [question("1")] * 2


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_path_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        sift_jsonl(tmp_path / name, Question)
