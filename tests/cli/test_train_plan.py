"""`stepsight train --plan`: the table, the JSON, the exit code, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepsight.cli.app import run
from stepsight.cli.plan_options import choose_plan
from stepsight.training.plan.records import UTILISATION

RECIPE = """\
task: sft
start:
  build: {vision_hidden: 32, vision_layers: 1, vision_heads: 2, text_hidden: 32, text_layers: 2, text_heads: 2}
data: {mixture: {look: 1.0}}
optimisation: {steps: 10, batch: 6, learning_rate: 1e-3}
out: run
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_the_table_and_the_object_say_the_same(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(recipe), "--plan", "--device", "l4", "--set", "optimisation.steps=20"]
    assert run(arguments) == 0
    table = capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["steps"] == 20
    assert f"tokens of a step  {plan['tokens_per_step']:,}" in table
    assert table.endswith("no problems\n")
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["recipe.yaml"]


def test_a_serious_problem_gives_1(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(recipe), "--plan", "--device", "l4", "--devices", "4"]) == 1
    assert "problem: a batch of 6 rows cannot be divided over 4 devices" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(recipe), "--json"]) == 2
    assert "--plan" in capsys.readouterr().err
    assert run(["train", str(recipe), "--plan", "--utilisation", "0"]) == 2
    assert "--utilisation" in capsys.readouterr().err


def test_the_utilisation_is_the_plans() -> None:
    assert choose_plan().utilisation == UTILISATION
