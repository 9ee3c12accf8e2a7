"""The contract with lmms-eval: what it is told, what it sends, where its scores stand, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.bridge.kits import lmms_eval

from stepsight.cli.app import run
from stepsight.errors import EngineError, InputError
from stepsight.evaluation.bridge import BridgeResult, BridgeSettings, run_lmms_eval
from stepsight.evaluation.bridge.lmms_eval import DROPPED
from stepsight.protocols import SampleRequest
from stepsight.testing import FakeServer, Fault, Manners

MODEL = "pico@stage-beam:4:t0.6"
MANNERS = Manners(models=(MODEL,))


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEPSIGHT_API_KEY", "OPENAI_API_KEY", "FAKE_KIT"):
        monkeypatch.delenv(name, raising=False)


def server(answer: Callable[[str], str] = lambda text: "A", **more: Any) -> FakeServer:
    def say(request: SampleRequest, slot: int, seed: int) -> str:
        return answer(request.turns[-1].text)

    return FakeServer(more.pop("manners", MANNERS), write=say, **more)


def go(folder: Path, url: str, name: str = "MMStar", **settings: Any) -> BridgeResult:
    python = folder / "bin" / "python" if (folder / "bin").exists() else lmms_eval(folder)
    told = BridgeSettings(
        **{"kit": "lmms-eval", "dataset": name, "server": url, "model": MODEL, "retries": 2} | settings
    )
    return run_lmms_eval(told, python=python, folder=folder / "out")


def test_a_run_is_read_back(tmp_path: Path) -> None:
    with server(lambda text: "A" if "mmstar 0" in text else "B") as serving:
        result = go(tmp_path, serving.url)
        bodies = serving.seen
    assert (result.primary.name, result.primary.metric, result.primary.value) == ("average", "none", 0.5)
    assert [score.name for score in result.scores] == ["average", "math"]
    assert (result.primary.low, result.agrees, result.ours, result.file) == (None, None, None, None)
    assert (result.answered, result.failed) == (2, 0)
    assert (result.version, result.commit) == ("0.7.2", "75571cf")
    assert any("compare with its own alone" in notice for notice in result.notices)
    assert BridgeResult.model_validate_json((tmp_path / "out" / "result.json").read_bytes()) == result
    for body in bodies:
        assert body.keys() == {"model", "messages", "max_tokens", "temperature"}
        # The task itself allows 16 tokens, far too few for a staged answer.
        assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, 4096, 0)
    assert "--reasoning_tags none" in " ".join(result.command)


def test_settings_reach_the_server_and_its_own_standard_error_is_an_interval(tmp_path: Path) -> None:
    with server() as serving:
        result = go(tmp_path, serving.url, "AI2D_TEST", max_tokens=99, temperature=0.5, limit=1)
        [body] = serving.seen
    assert (body["max_tokens"], body["temperature"]) == (99, 0.5)
    assert (result.primary.name, result.primary.value) == ("exact_match", 1.0)
    assert result.primary.high == pytest.approx(1 + 1.96 * 0.1, abs=1e-3)
    assert [score.name for score in result.scores] == ["exact_match"], "what is no number is no score"
    assert "only 1 questions of each task" in result.notices


def test_a_task_may_be_named(tmp_path: Path) -> None:
    with server() as serving:
        assert go(tmp_path, serving.url, "ai2d").primary.name == "exact_match"
        with pytest.raises(EngineError, match=r"ended and left no results: .*Tasks not found: chartqa"):
            run_lmms_eval(
                BridgeSettings(kit="lmms-eval", dataset="chartqa", server=serving.url, model=MODEL),
                python=tmp_path / "bin" / "python",
                folder=tmp_path / "other",
            )


def test_the_key_goes_to_the_server_and_into_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as serving:
        monkeypatch.setenv("OPENAI_API_KEY", "of-the-judge")
        go(tmp_path, serving.url)
        assert {headers["Authorization"] for headers in serving.headers} == {"Bearer none"}
    monkeypatch.setenv("STEPSIGHT_API_KEY", "secret-7")
    with server(manners=replace(MANNERS, key="secret-7")) as serving:
        python = tmp_path / "bin" / "python"
        told = BridgeSettings(kit="lmms-eval", dataset="MMStar", server=serving.url, model=MODEL)
        run_lmms_eval(told, python=python, folder=tmp_path / "locked")
        assert {headers["Authorization"] for headers in serving.headers} == {"Bearer secret-7"}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"secret-7" not in path.read_bytes()


def test_variables_that_would_change_it_in_silence_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in DROPPED:
        monkeypatch.setenv(name, "JPEG")
    with server() as serving:
        go(tmp_path, serving.url)
        url = serving.seen[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,iVBOR")


def test_questions_without_an_answer_are_counted(tmp_path: Path) -> None:
    with server(faults=[Fault(status=400)] * 2) as serving:
        result = go(tmp_path, serving.url)
    assert (result.answered, result.failed, result.primary.value) == (2, 1, 0.5)
    assert "1 of 2 questions have no answer and are scored all the same" in result.notices


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("crash", "lmms-eval ended with code 1; its last lines: .*RuntimeError: CUDA is not what it was"),
        ("no scores", "_results.json has no scores"),
        ("no samples", "left no answers that can be read at .*_samples_mmstar.jsonl"),
    ],
)
def test_a_kit_that_fails_is_quoted(mode: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KIT", mode)
    with server() as serving, pytest.raises(EngineError, match=said) as caught:
        go(tmp_path, serving.url)
    assert caught.value.hint
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"content": "whole"}, "conclusions alone"),
        ({"model": "pico4@greedy"}, "because of the o4 in it"),
        ({"model": "a,b"}, "cannot be told of a model named 'a,b'"),
        ({"judge": "gpt-4o"}, "name their judges themselves"),
        ({"dataset": "mmstar,ai2d"}, "no name of one task"),
    ],
)
def test_what_it_would_pass_over_in_silence_is_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        go(tmp_path, "http://127.0.0.1:9/v1", **settings)
    assert not (tmp_path / "out").exists()


def test_a_python_without_it_and_no_server(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
        go(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "site" / "lmms_eval").rename(tmp_path / "site" / "other")
    with pytest.raises(InputError, match="has no package lmms_eval") as caught:
        go(tmp_path, "http://127.0.0.1:9/v1")
    assert "pip install lmms_eval" in caught.value.hint


def test_a_model_that_the_server_does_not_list_is_told(tmp_path: Path) -> None:
    with server(manners=Manners(models=("other",))) as serving:
        result = go(tmp_path, serving.url)
    assert f"the server lists no model '{MODEL}'" in result.notices
    assert result.failed == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server() as serving:
        asked = ["bench", "mmstar", "--via", "lmms-eval", "--kit-python", str(lmms_eval(tmp_path)), "--model", MODEL]
        assert run([*asked, "--server", serving.url, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"MMStar by lmms-eval 0.7.2 75571cf: {MODEL}, conclusion, {serving.url}\n")
    assert "average none: 1.00 of 2 answers" in said
    assert "  math none: 1.00" in said
