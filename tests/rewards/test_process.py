"""A reward model's own process: how it starts, fails and ends, whatever becomes of the one that started it."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.rewards.asking import asked, values
from tests.rewards.fake_endpoint import FakeEndpoint
from tests.rewards.folders import classifier

import stepsight
from stepsight.errors import EngineError, InputError, ModelError
from stepsight.rewards import EndpointReward, ProcessReward, RemoteChoice, connect
from stepsight.rewards.process import REMOTE

SOURCE = Path(stepsight.__file__).parent.parent


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process has ended within so many seconds; one that nobody has waited for yet counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def interpreter(path: Path, script: str) -> str:
    """An "interpreter" that does as it likes."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def quick(folder: Path) -> str:
    """An "interpreter" that serves without a model, and so is there at once."""
    server = Path(__file__).parent / "quick_server.py"
    return interpreter(folder / "python", f'exec {sys.executable} {server} "$@"')


def test_it_ends_when_closed_and_when_dropped(tmp_path: Path) -> None:
    python = quick(tmp_path)
    model = ProcessReward(RemoteChoice("classifier", "x", python))
    model.close()
    model.close()
    assert gone(model.pid, 0.1)
    model = ProcessReward(RemoteChoice("classifier", "x", python))
    pid = model.pid
    del model
    assert gone(pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("ready", [True, False])
def test_it_ends_when_the_one_who_started_it_is_killed(tmp_path: Path, ready: bool) -> None:
    folder = classifier(tmp_path / "model")
    code = f"""
import subprocess, sys, time
from stepsight.rewards.process import ProcessReward, RemoteChoice, _start
choice = RemoteChoice("classifier", {str(folder)!r})
child = ProcessReward(choice) if {ready} else _start(choice)
print(child.pid, flush=True)
time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        early = gone(pid, 0.3)
        parent.kill()
    assert not early
    assert gone(pid)


async def test_a_child_killed_between_two_questions_is_told_by_name(tmp_path: Path) -> None:
    python = quick(tmp_path)
    with ProcessReward(RemoteChoice("classifier", "x", python)) as model:
        assert [result.value for result in await values(model, asked("abc"))] == [3.0]
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"classifier:x has ended \(signal 9\).*start it anew"):
            await values(model, asked("abc"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no module named torch' >&2; exit 3", r"exit code 3\); it said last:\n    no module named torch"),
        ("echo hello", r"exit code 0"),
        ("kill -9 $$", r"signal 9"),
    ],
)
def test_a_child_that_does_not_start_shows_its_last_words(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ProcessReward(RemoteChoice("classifier", "x", interpreter(tmp_path / "python", script)))


def test_the_last_words_are_the_last(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "python", "seq 1 50000 >&2; exit 1")
    with pytest.raises(ModelError) as caught:
        ProcessReward(RemoteChoice("classifier", "x", python))
    assert "    50000\n" in str(caught.value)
    assert "49900" not in str(caught.value)


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "python", f"echo $$ > {tmp_path / 'pid'}; echo loading >&2; exec sleep 600")
    with pytest.raises(ModelError, match=r"not loaded within 0.5 s; it said last:\n    loading"):
        ProcessReward(RemoteChoice("classifier", "x", python, deadline=0.5))
    assert gone(int((tmp_path / "pid").read_text()), 0.1)


def test_packages_of_this_interpreter_are_not_for_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    python = interpreter(tmp_path / "python", 'echo "path: <$PYTHONPATH>" >&2; exit 1')
    with pytest.raises(ModelError, match="path: <>"):
        ProcessReward(RemoteChoice("classifier", "x", python))


@pytest.mark.parametrize(
    ("classes", "template", "message"), [(2, True, "tells 2 classes apart"), (1, False, "has no chat template")]
)
def test_a_classifier_that_is_no_reward_model_is_refused(
    tmp_path: Path, classes: int, template: bool, message: str
) -> None:
    folder = classifier(tmp_path / "model", classes=classes, template=template)
    with pytest.raises(ModelError, match=message):
        ProcessReward(RemoteChoice("classifier", str(folder)))


def test_what_runs_there_is_understood_by_old_interpreters() -> None:
    for path in sorted(REMOTE.glob("*.py")):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


# Names.


def test_an_address_becomes_an_endpoint() -> None:
    with FakeEndpoint() as fake:
        model = connect(fake.url)
    assert isinstance(model, EndpointReward)
    assert model.name == "fake"


def test_an_address_of_vllm_becomes_one_too() -> None:
    with FakeEndpoint(path="/classify", told="/v1/models", info={"data": [{"id": "owner/model"}]}) as fake:
        assert connect(f"vllm+{fake.url}").name == "owner/model"


async def test_a_kind_and_a_model_become_a_process(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "python", f'exec {sys.executable} {Path(__file__).parent / "quick_server.py"} "$@"')
    model = connect("ixc:owner/model", python=python, trust_remote_code=True, revision="v1", device="cpu", steps="last")
    assert isinstance(model, ProcessReward)
    assert model.name == "ixc:owner/model"
    (result,) = await values(model, asked("abc"))
    model.close()
    assert result.value == 3.0
    words = model.choice.command()[2:]
    assert words[:4] == ["--kind", "ixc", "--model", "owner/model"]
    assert words[words.index("--revision") + 1] == "v1"
    assert words[words.index("--steps") + 1] == "last"
    assert "--trust-remote-code" in words
    assert "--trust-remote-code" not in RemoteChoice("ixc", "owner/model").command()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("icx:owner/model", r"did you mean ixc:owner/model\?"),
        ("VisualPRM:owner/model", r"did you mean visualprm:owner/model\?"),
        ("classifier", r"did you mean classifier:owner/model\?"),
        ("classifier:", r"did you mean classifier:owner/model\?"),
        ("owner/model", r"a kind of classifier, ixc, visualprm"),
        ("", r"a kind of classifier, ixc, visualprm"),
        ("ftp://x", r"a kind of classifier, ixc, visualprm"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        connect(name)


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="models that run here"):
        connect("http://localhost:1", trust_remote_code=True)
    with pytest.raises(InputError, match="no interpreter"):
        connect("ixc:a/b", python="no-such-python")
    with pytest.raises(InputError, match="deadline"):
        connect("ixc:a/b", deadline=0)
