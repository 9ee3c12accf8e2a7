"""`--executor ray`, as far as it can be tried without Ray: refusals, where workers stand, what they are made of."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest
from tests.data.lessons import lesson, teacher

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.cli.data.build_options import BuildPlan
from stepsight.cli.data.executors import executing, served
from stepsight.data import cluster
from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.cluster import Node, places, usable
from stepsight.engines.openai import ProbeReport
from stepsight.errors import InputError
from stepsight.jsonl import write_jsonl
from stepsight.model_folders import ModelCard

REPORT = ProbeReport(url="http://localhost:1/v1", model="m", at="now")
KEY = "sk-of-these-tests-alone"


def refused(
    folder: Path, capsys: pytest.CaptureFixture[str], model: LoadedModel | None = None
) -> tuple[int | None, str]:
    write_jsonl(folder / "questions.jsonl", [lesson(1).question])
    command = ["data", "build", str(folder / "questions.jsonl"), "--out", str(folder / "out"), "--executor", "ray"]
    code = run([*command, "--server", "http://localhost:1/v1"], model=model)
    return code, capsys.readouterr().err


def test_without_ray_the_extra_is_named_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    code, said = refused(tmp_path, capsys)
    assert code
    assert "ray is not installed" in said
    assert "pip install 'stepsight[ray]'" in said
    assert not (tmp_path / "out").exists()


def test_a_client_of_ray_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: object())
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    code, said = refused(tmp_path, capsys)
    assert code == 2
    assert "on a node of the cluster" in " ".join(said.split())


def test_a_teacher_that_is_no_server_is_refused() -> None:
    plan = BuildPlan(BuildRecipe(), "", "", None, None, "ray")
    model = LoadedModel(teacher(), ModelCard(name="scripted"))
    with pytest.raises(InputError, match="asks a server"), executing(plan, model):
        pass


def test_workers_stand_on_each_node_that_has_a_cpu_or_in_turn() -> None:
    def found(id: str, cpus: float, alive: bool = True) -> dict[str, object]:
        return {"NodeID": id, "NodeManagerHostname": f"host-{id}", "Alive": alive, "Resources": {"CPU": cpus}}

    head = {"NodeID": "head", "NodeManagerHostname": "h", "Alive": True, "Resources": {}}
    nodes = usable([found("b", 4), found("gone", 4, alive=False), head, found("kept-free", 0), found("a", 8)])
    assert nodes == [Node("a", "host-a"), Node("b", "host-b")]
    assert places(nodes, None) == nodes
    assert [node.id for node in places(nodes, 5)] == ["a", "b", "a", "b", "a"]
    assert [node.id for node in places(nodes, 1)] == ["a"]


def test_what_a_worker_is_made_of_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPSIGHT_API_KEY", KEY)
    shipped = pickle.dumps(partial(served, REPORT.url, "m", 600.0, REPORT, "STEPSIGHT_API_KEY"))
    assert KEY.encode() not in shipped
    engine = pickle.loads(shipped)()
    assert (engine.name, engine.capabilities) == ("openai:m", REPORT.capabilities)
    assert engine.server.key.headers() == {"Authorization": f"Bearer {KEY}"}


def test_a_worker_without_the_key_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPSIGHT_API_KEY", raising=False)
    with pytest.raises(InputError, match="STEPSIGHT_API_KEY is not set") as caught:
        served(REPORT.url, "m", 600.0, REPORT, "STEPSIGHT_API_KEY")
    assert "ray start" in caught.value.hint
    assert served(REPORT.url, "m", 600.0, REPORT, "").name == "openai:m"
