"""`stepsight data build` and `data forecast`: what is written, printed and refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.data.lessons import lesson, number_in, staged, teacher

from stepsight.assembly import LoadedModel
from stepsight.cli.app import INTERRUPTED, run
from stepsight.jsonl import write_jsonl
from stepsight.model_folders import ModelCard
from stepsight.protocols import SampleRequest


@pytest.fixture
def questions(tmp_path: Path) -> str:
    write_jsonl(tmp_path / "questions.jsonl", [lesson(number).question for number in range(12)])
    return str(tmp_path / "questions.jsonl")


def loaded(wrong: tuple[str, ...] = ()) -> LoadedModel:
    def say(request: SampleRequest) -> str:
        number = number_in(request)
        return staged("99" if number in wrong else number)

    return LoadedModel(teacher(say), ModelCard(name="scripted"))


def test_a_build_writes_rows_rejects_recipe_and_counts(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["data", "build", questions, "--out", str(out)], model=loaded(("3", "4"))) == 0
    printed = capsys.readouterr().out
    assert "train.jsonl: 10 rows" in printed
    assert "2 disagrees" in printed
    assert {path.name for path in out.iterdir()} >= {"train.jsonl", "rejects.jsonl", "recipe.yaml", "ledger.sqlite"}


def test_a_folder_with_a_run_is_gone_on_with_only_if_told(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "build", questions, "--out", str(tmp_path / "out"), "--json"]
    assert run(command, model=loaded()) == 0
    assert json.loads(capsys.readouterr().out)["asked"] == 12
    assert run(command, model=loaded()) == 2
    assert "--resume" in capsys.readouterr().err
    assert run([*command, "--resume"], model=loaded()) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["asked"], told["resumed"], told["rows"]) == (0, 12, 12)


def test_a_forecast_is_part_of_the_build_that_follows(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ["--price-in", "1", "--price-out", "2", "--out", str(tmp_path / "out"), "--json"]
    assert run(["data", "forecast", questions, "-n", "5", *prices], model=loaded()) == 0
    told = json.loads(capsys.readouterr().out)
    assert run(["data", "forecast", questions, "-n", "5", *prices], model=loaded()) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert (told["total"], told["pilot"], told["keep"]["value"]) == (12, 5, 1.0)
    assert told["dollars"]["low"] <= told["dollars"]["value"] <= told["dollars"]["high"]
    assert run(["data", "build", questions, "--resume", *prices], model=loaded()) == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["asked"], built["resumed"]) == (7, 5)
    assert built["dollars"] == pytest.approx(told["dollars"]["value"], rel=0.1)


def test_a_cap_stops_in_time_and_says_how_to_go_on(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "build", questions, "--out", str(tmp_path / "out"), "--price-out", "100", "--max-dollars"]
    assert run([*command, "0.21"], model=loaded()) == 1
    told = capsys.readouterr()
    assert "stopped before the cap" in told.err
    assert "higher --max-dollars" in told.err
    assert run([*command, "100", "--resume"], model=loaded()) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-dollars", "1"], "needs prices"),
        (["--set", "teaching.tries=2"], "--recipe"),
        (["--recipe", "nowhere.yaml"], "cannot be read"),
        (["--executor", "slurm"], "known: local, ray"),
        (["--workers", "2"], "--executor ray"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_work(
    options: list[str], said: str, questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "build", questions, "--out", str(tmp_path / "out"), *options], model=loaded()) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_server_there_is_no_teacher(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "build", questions, "--out", str(tmp_path / "out")]) == 2
    assert "--server" in capsys.readouterr().err


def test_a_recipe_says_how_and_options_change_it(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text("teaching: {tries: 1}\nprices: {input: 3}\nwindow: 2\n")
    out = tmp_path / "out"
    options = ["--recipe", str(tmp_path / "r.yaml"), "--set", "window=3", "--price-out", "4"]
    assert run(["data", "build", questions, "--out", str(out), *options], model=loaded()) == 0
    resolved = (out / "recipe.yaml").read_text()
    assert all(part in resolved for part in ("tries: 1", "input: 3", "output: 4", "window: 3"))


def test_ctrl_c_finishes_what_is_under_way_and_the_run_goes_on(
    questions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(request: SampleRequest) -> str:
        if number_in(request) == "1":
            os.kill(os.getpid(), signal.SIGINT)
        return staged(number_in(request))

    (tmp_path / "r.yaml").write_text("window: 2\n")
    model = LoadedModel(teacher(say, yields=50), ModelCard(name="scripted"))
    command = ["data", "build", questions, "--out", str(tmp_path / "out"), "--recipe", str(tmp_path / "r.yaml")]
    assert run(command, model=model) == INTERRUPTED
    told = capsys.readouterr()
    assert "finishing what is under way" in told.err
    kept = len((tmp_path / "out" / "train.jsonl").read_text().splitlines())
    assert 2 <= kept < 12
    assert run([*command, "--resume", "--json"], model=loaded()) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == kept
