"""`--server`: ask and evaluate against a model behind HTTP, and what is said when that cannot work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.scripts import ANSWER

import stepsight
from stepsight import InputError, Question, Trace, ask, write_jsonl
from stepsight.assembly import ModelChoice, check_choice
from stepsight.cli.app import run
from stepsight.engines.openai import ProbeReport
from stepsight.testing import FakeServer, Manners

SOURCE = Path(stepsight.__file__).parent.parent


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEPSIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return str(path)


def test_the_real_program_answers_through_a_server_and_without_torch(picture: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    code = (
        "import atexit, sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from stepsight.cli import main; sys.argv[0] = 'stepsight'; main()"
    )
    with FakeServer(Manners(key="sk-right")) as fake:
        arguments = ["ask", picture, "How many are left?", "--server", fake.url, "--width", "3", "--trace", str(trace)]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | {"PYTHONPATH": str(SOURCE), "STEPSIGHT_API_KEY": "sk-right"},
        )
    assert done.returncode == 0, done.stderr
    assert "answer: 1" in done.stdout
    assert all(f"    {text}" in done.stdout.splitlines() for text in ANSWER.values())
    assert done.stderr.startswith("note: openai:scripted-vl draws its own random numbers")
    assert done.stderr.count("\n") == 1
    found = Trace.model_validate_json(trace.read_bytes())
    assert found.settings["engine"] == "openai:scripted-vl"
    assert (found.strategy, len(found.candidates), found.judge) == ("stage-beam", 12, "self")
    assert "sk-right" not in trace.read_text() + done.stdout + done.stderr


def test_the_python_interface_takes_a_server(fake: FakeServer, picture: str) -> None:
    answer = ask(picture, "How many are left?", server=fake.url, search="best-of-n", judge="written", width=2)
    assert answer.conclusion == "1"
    assert answer.trace.judge == "written"
    assert "draws its own random numbers" in answer.notes[0]
    sure = ask(picture, "How many are left?", server=fake.url, search="greedy")
    assert sure.notes == ()


def test_an_evaluation_keeps_what_the_probe_saw(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, out = tmp_path / "questions.jsonl", tmp_path / "run"
    write_jsonl(questions, (Question(id=f"q{n}", text=f"How many {n}?", answer="1") for n in range(4)))
    arguments = ["eval", "-q", str(questions), "--server", fake.url, "--out", str(out), "--width", "2", "--json"]
    assert run([*arguments, "--server-seeds"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format_valid"]["value"], report["accuracy"]["n"]) == (1.0, 4)
    assert report["settings"]["engine"] == "openai:scripted-vl"
    assert report["versions"]["model"] == "scripted-vl"
    kept = ProbeReport.model_validate_json((out / "server.json").read_bytes())
    assert kept.seeds.yes
    assert kept.url == fake.url
    # A run with other settings is refused, and what lies there stays as it is.
    assert run([*arguments, "--seed", "9"]) == 2
    assert "seed" in capsys.readouterr().err
    assert ProbeReport.model_validate_json((out / "server.json").read_bytes()) == kept


@pytest.mark.parametrize("name", ["paper-1", "short-2"])
def test_judging_texts_can_be_named_for_a_model_that_has_no_card(fake: FakeServer, picture: str, name: str) -> None:
    answer = ask(picture, "How many are left?", server=fake.url, width=2, judge_prompts=name)
    assert {verdict.evidence["prompts"] for verdict in answer.trace.verdicts} == {name}


FAULTS = [
    (Manners(), ["--model", "other"], 1, "it offers: scripted-vl"),
    (Manners(prefix=False), [], 1, "best-of-n"),
    (Manners(logprobs=0), [], 1, "'written'"),
    (Manners(logprobs=0), ["--judge", "likelihood"], 1, "'written'"),
    (Manners(tempered=True), ["--judge", "likelihood"], 1, "'written'"),
    (Manners(blind=True), [], 1, "has a picture"),
    (Manners(models=("a", "b")), [], 2, "several models: a, b"),
    (Manners(key="sk-right"), [], 1, "STEPSIGHT_API_KEY"),
    (Manners(), ["--device", "cuda"], 2, "--device"),
    (Manners(), ["--judge-prompts", "short-9"], 2, "did you mean short-2"),
    (Manners(seeds="deadly"), ["--server-seeds"], 1, "after a request with a seed"),
]


@pytest.mark.parametrize(("manners", "more", "code", "says"), FAULTS, ids=lambda value: str(value)[-30:])
def test_what_cannot_work_is_one_line(
    manners: Manners, more: list[str], code: int, says: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeServer(manners) as fake:
        assert run(["ask", picture, "How many?", "--server", fake.url, "--json", *more]) == code
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]


@pytest.mark.parametrize("url", ["localhost", "http://", "http://u:hunter2@host/v1"])
def test_an_address_is_checked_before_anybody_is_asked(
    url: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", picture, "How many?", "--server", url]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "hunter2" not in err


def test_seeds_can_be_allowed_to_a_server_only() -> None:
    with pytest.raises(InputError, match="--server"):
        check_choice(ModelChoice(server_seeds=True))


def test_doctor_says_what_a_server_can_do(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--server", fake.url]) == 0
    out, err = capsys.readouterr()
    assert "continues a text" in out
    assert "all judges work" in " ".join(out.split())
    assert err == ""
    assert run(["doctor", "--server", fake.url, "--json"]) == 0
    report = ProbeReport.model_validate_json(capsys.readouterr().out)
    assert report.capabilities.prefix
    assert run(["doctor", "--server", "http://127.0.0.1:9/v1"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
