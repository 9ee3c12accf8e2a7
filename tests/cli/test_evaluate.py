"""`stepsight eval`: scores with intervals, resuming, and the paired difference to another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.scripts import rated, scripted_model, written

from stepsight import EngineError, Question, write_jsonl
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.evaluation import EvaluationReport
from stepsight.model_folders import ModelCard
from stepsight.protocols import OnText, SampleRequest, SampleResult

COUNT = 6


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Six questions; the script answers 1 to all, which is right for four."""
    path = tmp_path / "questions.jsonl"
    answers = ["1", "1", "2", "1", "3", "1"]
    write_jsonl(
        path,
        (Question(id=f"q{index}", text=f"How many {index}?", answer=answer) for index, answer in enumerate(answers)),
    )
    return path


def greedy(questions: Path, *more: str) -> list[str]:
    return ["eval", "--questions", str(questions), "--search", "greedy", *more]


def test_the_table_has_every_share_with_its_interval(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(greedy(questions), model=scripted_model()) == 0
    out, err = capsys.readouterr()
    assert "greedy, width 1, seed 0" in out
    assert "66.7% (30.0 to 90.3)" in out
    assert "format valid" in out
    assert "caption true" not in out
    assert "6 questions" in out
    assert err == ""


def test_json_is_the_report_without_its_rows(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(greedy(questions, "--json", "--limit", "3", "--out", str(out)), model=scripted_model()) == 0
    printed = json.loads(capsys.readouterr().out)
    report = EvaluationReport.model_validate_json((out / "report.json").read_bytes())
    assert printed == report.model_dump(mode="json", exclude={"rows"})
    assert printed["accuracy"]["n"] == 3
    assert printed["versions"]["model"] == "scripted"
    assert len((out / "traces.jsonl").read_text().splitlines()) == 3


def test_a_second_start_answers_only_what_is_left(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first, second = scripted_model(), scripted_model()
    assert run(greedy(questions, "--limit", "4", "--out", str(out)), model=first) == 0
    assert run(greedy(questions, "--out", str(out)), model=second) == 0
    assert isinstance(first.engine, ScriptedEngine)
    assert isinstance(second.engine, ScriptedEngine)
    assert (len(first.engine.calls), len(second.engine.calls)) == (4, 2)
    report = EvaluationReport.model_validate_json((out / "report.json").read_bytes())
    assert (report.resumed, report.accuracy.n) == (4, COUNT)


def test_a_folder_of_another_run_is_not_mixed_in(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(greedy(questions, "--out", str(out)), model=scripted_model()) == 0
    capsys.readouterr()
    assert run(greedy(questions, "--out", str(out), "--seed", "1"), model=scripted_model()) == 2
    assert "seed" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["", "traces.jsonl", "report.json"])
def test_another_run_is_compared_question_by_question(
    what: str, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert run(greedy(questions, "--out", str(other)), model=scripted_model()) == 0
    capsys.readouterr()
    wrong = LoadedModel(
        ScriptedEngine(lambda request, slot, seed: str(written(request, slot, seed)).replace("> 1 <", "> 2 <")),
        ModelCard(),
    )
    more = ["--compare", str(other / what)]
    assert run(greedy(questions, "--json", *more), model=wrong) == 0
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert compared["value"] == pytest.approx(1 / 6 - 4 / 6)
    assert compared["low"] < compared["value"] < compared["high"]
    assert (compared["n"], compared["only_first"], compared["only_second"]) == (6, 1, 4)
    assert run(greedy(questions, *more), model=wrong) == 0
    assert "-50.0 points" in capsys.readouterr().out


def test_a_run_that_was_killed_can_be_compared(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert run(greedy(questions, "--out", str(other)), model=scripted_model()) == 0
    traces = other / "traces.jsonl"
    traces.write_text(traces.read_text()[:-200])
    (other / "report.json").unlink()
    capsys.readouterr()
    assert run(greedy(questions, "--json", "--compare", str(other)), model=scripted_model()) == 0
    assert json.loads(capsys.readouterr().out)["compared"]["n"] == COUNT - 1


def test_runs_over_other_questions_cannot_be_compared(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, strange = tmp_path / "other", tmp_path / "strange.jsonl"
    write_jsonl(strange, [Question(id="strange", text="What?", answer="1")])
    assert run(greedy(strange, "--out", str(other)), model=scripted_model()) == 0
    capsys.readouterr()
    engine = ScriptedEngine()
    assert run(greedy(questions, "--compare", str(other)), model=LoadedModel(engine, ModelCard())) == 2
    assert "same questions" in capsys.readouterr().err
    assert engine.calls == []


class Flaky(ScriptedEngine):
    """Fails for a passing reason on every question about 2."""

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        if "2?" in request.turns[0].text:
            raise EngineError("the machine is busy", retryable=True)
        return await super().sample(request, on_text)


def test_questions_without_an_answer_are_an_error_at_the_end(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    model = LoadedModel(Flaky(written, scores=rated), ModelCard())
    assert run(greedy(questions, "--out", str(out)), model=model) == 1
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert "1 of 6 questions have no answer: the machine is busy" in printed.err
    assert printed.err.count("\n") == 1
    assert run(greedy(questions, "--out", str(out)), model=scripted_model()) == 0


def test_drawn_questions_are_checked_stage_by_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that writes the world's own staged answers is right in every stage."""
    assert run(["draw", "--out", str(tmp_path), "--count", "8", "--split", "hard", "--seed", "5"]) == 0
    questions = Path(capsys.readouterr().out.strip())
    rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    staged = {row["text"]: row["meta"]["staged_answer"] for row in rows}

    def teacher(request: SampleRequest, slot: int, seed: int) -> str:
        return str(next(answer for text, answer in staged.items() if request.turns[0].text.startswith(text)))

    model = LoadedModel(ScriptedEngine(teacher), ModelCard())
    assert run(greedy(questions, "--json"), model=model) == 0
    report = json.loads(capsys.readouterr().out)
    for share in ("accuracy", "format_valid", "caption_true", "reasoning_true"):
        assert (report[share]["value"], report[share]["n"]) == (1.0, 8), share
