"""`stepsight draw` writes pictures and questions, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stepsight.cli.app import run
from stepsight.world.recognise import looks_drawn
from stepsight.world.split import load_questions


def drawn(out: Path, *more: str) -> dict[str, bytes]:
    assert run(["draw", "--out", str(out), "--count", "5", *more]) == 0
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_pictures_and_questions_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path, "--split", "hard", "--seed", "9")
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'questions.jsonl'}\n"
    assert err == ""
    questions = load_questions(tmp_path / "questions.jsonl")
    assert len(questions) == 5
    for question in questions:
        assert question.meta["split"] == "hard"
        with Image.open(question.images[0]) as picture:
            assert looks_drawn(picture)


def test_the_same_seed_draws_the_same_files_and_another_others(tmp_path: Path) -> None:
    one, two, other = drawn(tmp_path / "1"), drawn(tmp_path / "2"), drawn(tmp_path / "3", "--seed", "1")
    assert one == two
    assert one["questions.jsonl"] != other["questions.jsonl"]
