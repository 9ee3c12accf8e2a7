"""Builds over a real Ray cluster on this machine: nodes and drivers are killed, Ctrl-C is heeded, keys stay unseen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from tests.data.kills import Teacher, environment, kill_and_resume
from tests.data.lessons import staged
from tests.data.ray_kills import Nodes, Run, cluster, driver_killed, node_killed, rows_of

from stepsight.cli.app import INTERRUPTED, run
from stepsight.jsonl import write_jsonl
from stepsight.protocols import Completion, SampleRequest
from stepsight.records import Question
from stepsight.testing import FakeServer
from stepsight.testing.model import say

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'stepsight[ray]'"),
]

KEY = "sk-of-these-tests-alone"
COUNT = 60


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Three, to begin with; tests kill some of them."""
    with cluster(3, STEPSIGHT_API_KEY=KEY) as started:
        yield started


def unharmed(folder: Path) -> list[dict[str, object]]:
    """The rows of one process that nobody kills."""
    folder.mkdir()
    assert kill_and_resume(folder, Random(0), kills=0, count=COUNT, seconds=0.0).faults == []
    return rows_of(folder / "out")


def test_a_node_that_is_killed_midway_costs_no_row(nodes: Nodes, tmp_path: Path) -> None:
    with Teacher(0.005) as teacher:
        run = Run(tmp_path, nodes, teacher, COUNT)
        found, told = node_killed(run)
    assert found.faults == []
    assert (found.killed, told["lost"], told["kept"]) == (1, 1, COUNT)
    # Asked again was what that node had under way, and no more.
    assert 1 <= found.repeated <= run.window
    assert rows_of(tmp_path / "out") == unharmed(tmp_path / "whole")


def test_a_driver_that_is_killed_goes_on_where_it_was(nodes: Nodes, tmp_path: Path) -> None:
    with Teacher(0.005) as teacher:
        run = Run(tmp_path, nodes, teacher, COUNT)
        found, told = driver_killed(run)
    assert found.faults == []
    assert (found.killed, told["resumed"] + told["kept"]) == (1, COUNT)
    assert told["resumed"] > 0
    assert found.repeated <= run.window * nodes.count
    assert rows_of(tmp_path / "out") == unharmed(tmp_path / "whole")


def test_the_command_stops_gracefully_goes_on_and_shows_no_key(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, out = tmp_path / "questions.jsonl", tmp_path / "out"
    write_jsonl(questions, [Question(id=f"q{n}", text=f"How many of {n} are left?", answer="1") for n in range(COUNT)])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("window: 2\n")
    asked: list[str] = []

    def write(request: SampleRequest, slot: int, seed: int) -> str | Completion:
        found = re.search(r"How many of (\d+) are left", request.turns[0].text)
        if found is None:
            return say(request, slot, seed)  # the probe
        asked.append(found[1])
        if len(asked) == COUNT // 3:
            os.kill(child.pid, signal.SIGINT)
        return staged("2" if int(found[1]) % 7 == 0 else "1")

    with FakeServer(write=write) as server:
        build = ["data", "build", str(questions), "--server", server.url, "--recipe", str(recipe), "--out"]
        ray = [*build, str(out), "--executor", "ray", "--workers", "4", "--json"]
        variables = environment() | {"RAY_ADDRESS": nodes.address, "STEPSIGHT_API_KEY": KEY}
        command = [sys.executable, "-m", "stepsight", *ray]
        child = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        printed, complaints = child.communicate()
        assert child.returncode == INTERRUPTED, complaints
        told = json.loads(printed)
        assert (told["ending"], set(told["states"]) <= {"kept", "rejected"}) == ("stopped", True)
        assert COUNT // 3 <= sum(told["states"].values()) < COUNT
        done = subprocess.run([*command, "--resume"], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        # Nothing was under way when the first ended: the second asks what is left.
        assert told["asked"] + json.loads(done.stdout)["asked"] == len(asked)
        headers = {sent.get("Authorization") for sent in server.headers}
        monkeypatch.setenv("STEPSIGHT_API_KEY", KEY)
        assert run([*build, str(tmp_path / "one")]) == 0
    for name in ("train.jsonl", "rejects.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    # The key reached the server from the nodes' own environment, and nothing else.
    assert headers == {f"Bearer {KEY}"}
    assert KEY not in nodes.logged() + printed + complaints + done.stdout + done.stderr
    assert all(KEY.encode() not in path.read_bytes() for path in out.iterdir())
