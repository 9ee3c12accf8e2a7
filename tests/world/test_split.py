"""A split on disk: whole files, pictures kept when it is drawn again, malformed rows by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stepsight.errors import InputError, RecordError
from stepsight.stages import parse
from stepsight.world.checker import check
from stepsight.world.split import load_questions, pose, save_split


def test_a_saved_split_is_read_back(tmp_path: Path) -> None:
    done: list[int] = []
    path = save_split("hard", seed=4, count=3, out=tmp_path / "hard", progress=done.append)
    assert done == [1, 2, 3]
    questions = load_questions(path)
    assert [question.id for question in questions] == [f"tabletop-hard-4-{index}" for index in range(3)]
    for index, question in enumerate(questions):
        (image,) = question.images
        with Image.open(image) as picture:
            assert picture.size == (224, 224)
        assert question.meta["split"] == "hard"
        assert question.text == pose("hard", seed=4, index=index).asked.text
        truth = check(question, parse(question.meta["staged_answer"]).stages)
        assert (truth.caption, truth.reasoning, truth.conclusion) == (True, True, True)
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.part"))


def test_only_questions_of_some_families(tmp_path: Path) -> None:
    done: list[int] = []
    path = save_split("test", seed=4, count=12, out=tmp_path, families=("spatial", "add"), progress=done.append)
    questions = load_questions(path)
    assert {question.meta["family"] for question in questions} == {"spatial", "add"}
    # They are those of all families, the others left out; so numbers tell them apart in every set of a seed.
    assert [question.text for question in questions] == [
        posed.asked.text
        for posed in (pose("test", seed=4, index=int(question.id.rpartition("-")[2])) for question in questions)
    ]
    assert done == list(range(1, 13))
    with pytest.raises(InputError, match="hard asks none of exist, attribute"):
        save_split("hard", seed=4, count=1, out=tmp_path, families=("exist", "attribute"))


def test_drawing_on_keeps_what_is_there(tmp_path: Path) -> None:
    first = save_split("test", seed=0, count=2, out=tmp_path)
    row = first.read_text(encoding="utf-8").splitlines()[0]
    kept = tmp_path / "images" / "tabletop-test-0-0.png"
    before = kept.stat().st_mtime_ns
    (tmp_path / "images" / "tabletop-test-0-1.png").unlink()
    save_split("test", seed=0, count=3, out=tmp_path)
    assert kept.stat().st_mtime_ns == before
    assert len(list((tmp_path / "images").glob("*.png"))) == 3
    assert first.read_text(encoding="utf-8").splitlines()[0] == row


def test_an_interrupted_drawing_leaves_the_old_questions(tmp_path: Path) -> None:
    path = save_split("test", seed=0, count=1, out=tmp_path)
    before = path.read_bytes()

    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_split("test", seed=0, count=3, out=tmp_path, progress=stop)
    assert path.read_bytes() == before


def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = save_split("test", seed=0, count=1, out=tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + '{"id": 3}\n', encoding="utf-8")
    with pytest.raises(RecordError, match=r"questions\.jsonl, line 2"):
        load_questions(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stepsight draw"):
        load_questions(tmp_path / "questions.jsonl")
