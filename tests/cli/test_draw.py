"""`stepsight draw` writes pictures and questions, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stepsight.cli.app import run
from stepsight.errors import InputError
from stepsight.evaluation.suites import Prediction, read_suite, score_by_rules
from stepsight.world.benchmarks import KINDS, save_benchmark
from stepsight.world.drawing import draw_picture
from stepsight.world.recognise import looks_drawn
from stepsight.world.split import load_questions, pose


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


@pytest.mark.parametrize(
    ("kind", "answers"),
    [("mcq", set("ABCD")), ("yn", {"Yes", "No"}), ("vqa", None)],
)
def test_benchmark_files_are_read_by_the_readers_of_benchmarks(
    kind: str, answers: set[str] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["draw", "--out", str(tmp_path), "--count", "6", "--seed", "4", "--format", f"tsv-{kind}"]) == 0
    path = tmp_path / f"tabletop_test_{kind}.tsv"
    assert capsys.readouterr().out == f"{path}\n"
    assert list(tmp_path.iterdir()) == [path]
    suite = read_suite(f"tabletop_test_{kind}", root=tmp_path)
    assert suite.benchmark.rules.kind == {"mcq": "multiple choice", "yn": "yes or no", "vqa": "short answers"}[kind]
    questions = suite.questions()
    assert len(questions) == 6
    for line, question in zip(suite.lines, questions, strict=True):
        posed = pose("test", seed=4, index=int(line.index))
        assert question.text == posed.asked.text
        assert question.choices == posed.asked.choices
        assert (question.answer or "").lower() == posed.asked.answer.lower()
        assert question.meta["category"] == posed.asked.program.family
        assert answers is None or question.answer in answers
        with Image.open(question.images[0]) as picture:
            assert picture.convert("RGB").tobytes() == draw_picture(posed.scene).tobytes()
    right = [Prediction(index=line.index, text=line.text("answer")) for line in suite.lines]
    assert score_by_rules(suite, right).whole.overall.value == 1.0
    wrong = [Prediction(index=line.index, text="Z 77 neither") for line in suite.lines]
    assert score_by_rules(suite, wrong).whole.overall.value in (0.0, None)


def test_every_question_of_a_split_is_in_one_benchmark_file(tmp_path: Path) -> None:
    found: list[int] = []
    for kind in KINDS:
        save_benchmark(kind, "hard", seed=1, count=5, out=tmp_path)
        found += [int(line.index) for line in read_suite(f"tabletop_hard_{kind}", root=tmp_path).lines]
    assert len(found) == len(set(found)) == 15
    assert set(range(5)) < set(found)


def test_the_same_seed_draws_the_same_benchmark_file(tmp_path: Path) -> None:
    one, two = (save_benchmark("mcq", "test", seed=2, count=3, out=tmp_path / name).read_bytes() for name in ("1", "2"))
    assert one == two
    assert one != save_benchmark("mcq", "test", seed=3, count=3, out=tmp_path / "3").read_bytes()


def test_another_format_is_refused_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["draw", "--out", str(tmp_path), "--format", "csv"]) == 2
    assert "tsv-mcq" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no kind 'csv' of questions"):
        save_benchmark("csv", "test", seed=0, count=1, out=tmp_path)  # type: ignore[arg-type]
