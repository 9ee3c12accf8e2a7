"""The contract with VLMEvalKit: what it is told, what it sends, where its scores stand, and how it fails."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.evaluation.bridge.kits import vlmevalkit
from tests.evaluation.suites.files import FILES, Row, hallusion_rows, mmbench_rows, mmstar_rows, write

from stepsight.cli.app import run
from stepsight.errors import EngineError, InputError
from stepsight.evaluation.bridge import BridgeResult, BridgeSettings, run_vlmevalkit
from stepsight.evaluation.bridge.vlmevalkit import DROPPED
from stepsight.evaluation.suites import BENCHMARKS
from stepsight.protocols import SampleRequest
from stepsight.testing import FakeServer, Fault, Manners

MODEL = "org/pico@stage-beam:4:t0.6"
MANNERS = Manners(models=(MODEL,), strict=False)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEPSIGHT_API_KEY", "OPENAI_API_KEY", "FAKE_KIT"):
        monkeypatch.delenv(name, raising=False)


def server(answer: Callable[[str], str] = lambda text: "A", **more: Any) -> FakeServer:
    def say(request: SampleRequest, slot: int, seed: int) -> str:
        return answer(request.turns[-1].text)

    return FakeServer(more.pop("manners", MANNERS), write=say, **more)


def published(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, rows: Sequence[Row]) -> dict[str, str]:
    """Write a benchmark's file, and make it the published one; its sum, for the kit."""
    data = write(folder / "data" / f"{name}.tsv", rows).read_bytes()
    digest = hashlib.md5(data).hexdigest()
    monkeypatch.setitem(BENCHMARKS, name, replace(BENCHMARKS[name], md5=digest, rows=None))
    return {name: digest}


def go(folder: Path, python: Path, url: str, name: str, **settings: Any) -> BridgeResult:
    told = BridgeSettings(kit="vlmevalkit", dataset=name, server=url, model=MODEL, retries=2, **settings)
    return run_vlmevalkit(told, python=python, folder=folder / "out", root=folder / "data")


def test_a_run_is_read_back_and_the_same_by_our_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = published(monkeypatch, tmp_path, "MMStar", mmstar_rows(8))
    with server(lambda text: "A" if "picture 0" in text or "picture 4" in text else "B") as serving:
        result = go(tmp_path, vlmevalkit(tmp_path, sums), serving.url, "MMStar")
        bodies = serving.seen
    assert (result.primary.name, result.primary.value, result.primary.ours) == ("Overall", 50.0, 50.0)
    assert (result.answered, result.failed, result.agrees, result.generation) == (8, 0, True, "2026-06")
    assert result.ours is not None
    assert result.ours.low is not None
    assert 0.2 < result.ours.low < 0.5
    assert result.commit == "e8e78f05"
    assert result.notices == ()
    assert BridgeResult.model_validate_json((tmp_path / "out" / "result.json").read_bytes()) == result
    # What was sent: the model whole, the limits as they were set, nothing of our own, no system's words.
    assert len(bodies) == 8
    for body in bodies:
        assert body.keys() == {"model", "messages", "n", "max_tokens", "temperature"}
        assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, 4096, 0.0)
        [message] = body["messages"]
        assert message["role"] == "user"
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        assert message["content"][1]["text"].endswith("select the correct answer from the options above. \n")


def test_settings_reach_the_server(tmp_path: Path) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    with server() as serving:
        settings = {"content": "whole", "max_tokens": 777, "temperature": 0.25}
        result = go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own", **settings)
        [first, _] = serving.seen
    assert (first["max_tokens"], first["temperature"]) == (777, 0.25)
    assert first["search"] == {"content": "whole"}
    assert result.file is not None
    assert result.file.published is None
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    [model] = config["model"].values()
    assert model["verbose"] is False
    assert (model["retry"], model["timeout"]) == (2, 1800)
    assert config["data"] == {"Own": {"class": "CustomMCQDataset", "dataset": "Own"}}


def test_circles_and_splits_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = published(monkeypatch, tmp_path, "MMBench_DEV_EN_V11", mmbench_rows(2))

    def answer(text: str) -> str:
        if "shown in 1" in text:
            return "A"
        return next(letter for letter in "ABCD" if f"{letter}. thing 0" in text)

    with server(answer) as serving:
        result = go(tmp_path, vlmevalkit(tmp_path, sums), serving.url, "MMBench_DEV_EN_V11")
    assert (result.primary.value, result.primary.split, result.primary.ours) == (50.0, "dev", 50.0)
    assert result.answered == 8
    assert result.agrees


def test_hallusionbench_is_read_as_three_accuracies_and_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = published(monkeypatch, tmp_path, "HallusionBench", hallusion_rows())
    with server(lambda text: "Yes.") as serving:
        result = go(tmp_path, vlmevalkit(tmp_path, sums), serving.url, "HallusionBench")
        assert {body["messages"][0]["content"][1]["text"] for body in serving.seen} >= {"Is 0 so in chart 13?"}
    by_metric = {score.metric: score for score in result.scores}
    assert set(by_metric) == {"aAcc", "fAcc", "qAcc"}
    mean = sum(score.value for score in by_metric.values()) / 3
    assert result.primary.metric == "average"
    assert result.primary.value == pytest.approx(mean)
    assert result.primary.ours == pytest.approx(mean)
    assert result.agrees


@pytest.mark.parametrize("name", ["MathVista_MINI", "MMVet"])
def test_scores_by_a_judge_are_read_and_not_compared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = published(monkeypatch, tmp_path, name, FILES[name]())
    python = vlmevalkit(tmp_path, sums)
    with server(lambda text: "4") as serving:
        with pytest.raises(InputError, match="with a judge alone"):
            go(tmp_path, python, serving.url, name)
        result = go(tmp_path, python, serving.url, name, judge="gpt-4o-mini", judge_server="http://judge/v1")
    assert result.primary.value == 50.0
    assert [(score.name, score.value) for score in result.scores] == [("Overall", 50.0), ("rec", 25.0)]
    assert (result.primary.ours, result.agrees) == (None, None)
    assert result.variables["OPENAI_API_BASE"] == "http://judge/v1/chat/completions"


def test_the_key_goes_to_the_server_and_into_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    monkeypatch.setenv("STEPSIGHT_API_KEY", "secret-7")
    with server(manners=replace(MANNERS, key="secret-7")) as serving:
        go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own")
        assert {headers["Authorization"] for headers in serving.headers} == {"Bearer secret-7"}
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"secret-7" not in path.read_bytes()


def test_variables_that_would_change_it_in_silence_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    for name in DROPPED:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MMEVAL_ROOT", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("LMUData", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PRED_FORMAT", "xlsx")
    with server() as serving:
        go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own")
        url = serving.seen[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert not (tmp_path / "elsewhere").exists()
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        assert (picture.format, min(picture.size)) == ("JPEG", 100), "small pictures are enlarged, as ever"


def test_a_file_of_variables_that_overrides_ours_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    python = vlmevalkit(tmp_path)
    env = tmp_path / "VLMEvalKit" / ".env"
    with server() as serving:
        env.write_text("OPENAI_API_KEY=x\nLMUData=\n# PRED_FORMAT=tsv\n")
        go(tmp_path, python, serving.url, "Own")
        env.write_text("OPENAI_API_KEY=x\nexport LMUData = /data\nPRED_FORMAT=xlsx\n")
        with pytest.raises(InputError, match=r"\.env sets LMUData, PRED_FORMAT, which VLMEvalKit puts over"):
            go(tmp_path, python, serving.url, "Own")


def test_questions_without_an_answer_are_counted_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(3))
    python = vlmevalkit(tmp_path)
    with server(faults=[Fault(status=400)] * 2) as serving:
        result = go(tmp_path, python, serving.url, "Own", concurrency=1)
        assert (result.answered, result.failed) == (3, 1)
        assert "1 of 3 questions have no answer and are scored all the same" in result.notices
        asked = len(serving.seen)
        again = go(tmp_path, python, serving.url, "Own", concurrency=1)
        assert (again.failed, len(serving.seen) - asked) == (0, 1), "only the one that failed is asked again"
        assert "--reuse" in again.command
        with pytest.raises(InputError, match="holds a run with other settings: max_tokens 4096"):
            go(tmp_path, python, serving.url, "Own", concurrency=1, max_tokens=5)


def test_an_empty_answer_is_none_for_it(tmp_path: Path) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(1))
    with server(lambda text: "") as serving:
        result = go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own")
        assert len(serving.seen) == 2, "it tries again"
    assert result.failed == 1


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("crash", "VLMEvalKit ended with code 1; its last lines: .*RuntimeError: CUDA is not what it was"),
        ("error", "gave Own up: MathVista evaluation requires a working OPENAI API; its last lines: .*Run Summary"),
        ("skip", "gave Own up: evaluate_returned_none"),
        ("no status", "ended and left no status.json: .*Run Summary Report"),
        ("no table", "left no scores that can be read at .*_Own_acc.csv"),
    ],
)
def test_a_kit_that_fails_is_quoted(mode: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    monkeypatch.setenv("FAKE_KIT", mode)
    with server() as serving, pytest.raises(EngineError, match=said) as caught:
        go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own")
    assert caught.value.hint
    assert not (tmp_path / "out" / "result.json").exists()
    assert "work dir" in (tmp_path / "out" / "kit.log").read_text()


def test_a_kit_ends_with_whoever_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    monkeypatch.setenv("FAKE_KIT", "hang")
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        if line.startswith("process"):
            raise KeyboardInterrupt

    python = vlmevalkit(tmp_path)
    serving = server()
    told = BridgeSettings(kit="vlmevalkit", dataset="Own", server=serving.url, model=MODEL)
    with serving, pytest.raises(KeyboardInterrupt):
        run_vlmevalkit(told, python=python, folder=tmp_path / "out", root=tmp_path / "data", hear=hear)
    with pytest.raises(ProcessLookupError):
        os.kill(int(heard[-1].split()[1]), 0)


def test_scores_that_are_not_those_of_its_answers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    monkeypatch.setenv("FAKE_KIT", "liar")
    with server() as serving:
        result = go(tmp_path, vlmevalkit(tmp_path), serving.url, "Own")
    assert result.agrees is False
    assert result.notices == (
        "the kit's scores are not those of our rules over its own answers: Overall 75.00 here 50.00",
    )


def test_what_cannot_go_well_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = vlmevalkit(tmp_path)
    write(tmp_path / "data" / "MMStar.tsv", mmstar_rows(2))
    write(tmp_path / "data" / "MMBench_TEST_EN_V11.tsv", mmbench_rows(answers=False))
    write(tmp_path / "data" / "Words.tsv", FILES["MMVet"]())
    write(tmp_path / "data" / "Beside_local.tsv", mmstar_rows(2))
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(2))
    for name, said in (
        ("MMStar", "not the published file of MMStar, and VLMEvalKit would download"),
        ("MMBench_TEST_EN_V11", "not the published file"),
        ("Words", "no scores for files of one's own but multiple choice"),
        ("Beside", r"reads Beside\.tsv, not Beside_local\.tsv"),
        ("Gone", "no benchmark Gone"),
    ):
        with pytest.raises(InputError, match=said):
            go(tmp_path, python, "http://127.0.0.1:9/v1", name)
    published(monkeypatch, tmp_path, "MMBench_TEST_EN_V11", mmbench_rows(answers=False))
    with pytest.raises(InputError, match="holds no answers"):
        go(tmp_path, python, "http://127.0.0.1:9/v1", "MMBench_TEST_EN_V11")
    with pytest.raises(InputError, match="takes a benchmark whole"):
        go(tmp_path, python, "http://127.0.0.1:9/v1", "Own", limit=3)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
        go(tmp_path, python, "http://127.0.0.1:9/v1", "Own")
    bare = tmp_path / "bare" / "python"
    bare.parent.mkdir()
    bare.write_text('#!/bin/sh\necho "no such thing" >&2; exit 3\n')
    for broken, said in (
        (tmp_path / "none", "cannot be run: No such file"),
        (bare, "cannot be run: Permission denied"),
    ):
        with pytest.raises(InputError, match=said):
            go(tmp_path, broken, "http://127.0.0.1:9/v1", "Own")
    bare.chmod(0o755)
    with pytest.raises(InputError, match="is no usable python: no such thing"):
        go(tmp_path, bare, "http://127.0.0.1:9/v1", "Own")
    (tmp_path / "VLMEvalKit" / "run.py").unlink()
    with pytest.raises(InputError, match=r"there is no .*run\.py"):
        go(tmp_path, python, "http://127.0.0.1:9/v1", "Own")
    (tmp_path / "VLMEvalKit" / "vlmeval" / "__init__.py").unlink()
    (tmp_path / "VLMEvalKit" / "vlmeval").rmdir()
    with pytest.raises(InputError, match="has no package vlmeval") as caught:
        go(tmp_path, python, "http://127.0.0.1:9/v1", "Own")
    assert "git clone https://github.com/open-compass/VLMEvalKit" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "data" / "Own.tsv", mmstar_rows(4))
    with server(faults=[Fault(status=400)] * 6) as serving:
        asked = ["bench", "Own", "--via", "vlmevalkit", "--kit-python", str(vlmevalkit(tmp_path))]
        asked += ["--server", f"{serving.url}/", "--model", MODEL]
        asked += ["--root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--concurrency", "1"]
        assert run(asked) == 1
        said = capsys.readouterr()
        assert "Overall acc: 0.00 of 4 answers" in said.out
        assert "1 of 4 questions have no answer" in said.err
        assert run([*asked, "--json"]) == 0
        assert BridgeResult.model_validate_json(capsys.readouterr().out).primary.value == 25.0
    assert run([*asked, "--via", "helm"]) == 2
    assert "choose one of vlmevalkit, lmms-eval" in capsys.readouterr().err
    assert run([*asked, "--content", "tags"]) == 2
