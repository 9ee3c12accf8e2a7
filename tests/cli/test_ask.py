"""`stepsight ask` with a scripted model: what it prints, writes and says on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.scripts import ANSWER, scripted_model

from stepsight import Trace, ask
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.cli.ask import EXAMPLE_QUESTION, example_picture, what_is_asked
from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import InputError
from stepsight.model_folders import ModelCard
from stepsight.stages import STAGES


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), (165, 165, 165)).save(path)
    return str(path)


def test_the_answer_is_told_in_plain_lines(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", picture, "How many are left?"], model=scripted_model()) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "grey.png  How many are left?"
    assert [line for line in lines if line in set(STAGES)] == list(STAGES)
    assert all(f"    {text}" in lines for text in ANSWER.values())
    assert "what the search tried" in lines
    assert "answer: 1" in lines
    assert "\x1b" not in out
    assert err == ""


def test_json_is_one_object_and_equals_the_python_answer(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", picture, "How many are left?", "--json", "--seed", "3", "--width", "2", "--judge", "likelihood"]
    scripted = scripted_model()
    assert run([*arguments, "--search", "greedy"], model=scripted) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out)
    answer = ask(picture, "How many are left?", model=scripted_model(), seed=3, width=2, search="greedy")
    assert printed.pop("seconds") >= 0
    expected = answer.to_dict()
    expected.pop("seconds")
    assert printed == expected
    assert err == ""
    assert set(printed) == {"question", "answer", "stages", "search", "usage"}


def test_every_option_reaches_the_search(picture: str, tmp_path: Path) -> None:
    model = scripted_model()
    file = tmp_path / "new" / "trace.json"
    options = "--search best-of-n --width 3 --judge vote --seed 5 --temperature 0.9 --top-p 0.5 --max-tokens 300"
    arguments = ["ask", picture, "Which?", *options.split(), "--greedy-first", "-c", "red", "-c", "blue"]
    assert run([*arguments, "--trace", str(file)], model=model) == 0
    trace = Trace.model_validate_json(file.read_bytes())
    assert trace.strategy == "best-of-n"
    assert trace.judge == "vote"
    assert trace.seed == 5
    assert trace.question.choices == ("red", "blue")
    expected = {"width": 3, "temperature": 0.9, "top_p": 0.5, "max_tokens": 300, "greedy_first": True}
    assert {key: trace.settings[key] for key in expected} == expected
    assert [path.name for path in file.parent.iterdir()] == ["trace.json"]


def test_without_arguments_the_bundled_picture_is_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "--json"], model=scripted_model(world_only=True)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["question"] == EXAMPLE_QUESTION
    assert "notes" not in printed


def test_a_lone_argument_is_understood(tmp_path: Path, picture: str) -> None:
    assert what_is_asked(None, None) == (example_picture(), EXAMPLE_QUESTION)
    assert what_is_asked("How many?", None) == (example_picture(), "How many?")
    assert what_is_asked(picture, "How many?") == (Path(picture), "How many?")
    for fault, says in (
        (picture, "no question"),
        ("missing.png", "no file"),
        ("my cat.jpg", "no file"),
        ("  ", "empty"),
    ):
        with pytest.raises(InputError, match=says):
            what_is_asked(fault, None)
    spaced = tmp_path / "a b"
    Path(picture).rename(spaced)
    with pytest.raises(InputError, match="no question"):
        what_is_asked(str(spaced), None)


def test_a_model_of_the_drawn_world_warns_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "blue.png"
    Image.new("RGB", (64, 64), "royalblue").save(path)
    assert run(["ask", str(path), "How many?", "--json"], model=scripted_model(world_only=True)) == 0
    out, err = capsys.readouterr()
    assert err.startswith("note: ")
    assert len(err.splitlines()) == 1
    assert "--model" in err
    assert json.loads(out)["notes"] == [err.removeprefix("note: ").strip()]


def test_on_one_screen_the_warning_stands_above_the_live_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes both streams terminals for rich
    path = tmp_path / "blue.png"
    Image.new("RGB", (64, 64), "royalblue").save(path)
    assert run(["ask", str(path), "How many?"], model=scripted_model(world_only=True)) == 0
    out, err = capsys.readouterr()
    assert out.index("How many?") < out.index("note: ") < out.index("SUMMARY") < out.index("╭")
    assert "\x1b[" in out
    assert err == ""
    assert run(["ask", str(path), "How many?", "--json"], model=scripted_model(world_only=True)) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["answer"] == "1"
    assert "note: " in err


def test_a_malformed_answer_says_so(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = LoadedModel(ScriptedEngine(["<SUMMARY> I look. </SUMMARY> [b]and so on"] * 2), ModelCard())
    assert run(["ask", picture, "How many?", "--search", "greedy"], model=model) == 0
    out = capsys.readouterr().out
    assert "the answer is malformed: " in out
    assert "[b]and so on" in out
    assert "no conclusion was written" in out
    assert run(["ask", picture, "How many?", "--search", "greedy", "--json"], model=model) == 0
    assert "CONCLUSION is missing" in json.loads(capsys.readouterr().out)["faults"]


def test_the_same_seed_gives_the_same_trace(picture: str, tmp_path: Path) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        assert run(["ask", picture, "How many?", "--trace", str(file), "--json"], model=scripted_model()) == 0
    one, two = (Trace.model_validate_json(file.read_bytes()).model_copy(update={"seconds": 0.0}) for file in files)
    assert one == two
