"""`stepsight doctor`: the table, the JSON, the exit code, and what comes where packages are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_failures import program

from stepsight.cli.app import run


def test_the_table_of_the_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--device", "cpu", "--cache-gb", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert out.index("machine\n") < out.index("torch\n") < out.index("model\n") < out.index("self-check\n")
    assert "llava, proven" in out
    assert "tokens equal      yes" in out
    assert "pictures apart    yes" in out
    assert "32,768 tokens" in out
    assert out.endswith("no problems\n")
    assert err == ""


def test_json_is_one_object_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--device", "cpu", "--no-check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] is True
    assert found["problems"] == []
    assert found["model"]["shape"]["parameters"] == 4_944_512
    assert found["model"]["check"] is None
    assert found["machine"]["packages"]["torch"]


def test_a_warning_does_not_change_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--device", "cpu", "--no-check", "--max-rows", "100000000"]) == 0
    assert "warning: 100000000 rows" in capsys.readouterr().out


def test_a_model_that_cannot_be_used_gives_1_and_the_rest_still_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--model", str(tmp_path / "missing")]) == 1
    out, err = capsys.readouterr()
    assert "processor" in out
    assert "threads" in out
    assert "problem: there is no model folder" in out
    assert err == ""
    assert run(["doctor", "--model", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] is False
    assert "config.json" in found["problems"][0]["what"]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_extra_it_is_named_and_the_rest_still_comes(missing: str, tmp_path: Path) -> None:
    done = program(["doctor"], before=f"sys.modules['{missing}'] = None")
    assert done.returncode == 1, done.stderr
    assert "memory" in done.stdout
    assert "judge prompts     short-2" in done.stdout
    assert "problem: " in done.stdout
    assert "pip install 'stepsight[local]'" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_a_missing_package_of_an_option_is_named(check: str) -> None:
    missing = "sys.modules['bitsandbytes'] = None"
    done = program(["doctor", "--quantize", "4bit", "--device", "cpu", "--json", check], before=missing)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    (problem,) = found["problems"]
    assert problem["what"] == "bitsandbytes is not installed"
    assert problem["next"] == "pip install 'stepsight[large]'"
    assert found["model"]["shape"]["quantize"] == {"value": "4bit", "why": "asked for"}


def test_a_map_that_does_not_work_is_found_out_beforehand(capsys: pytest.CaptureFixture[str]) -> None:
    # pico's head has its weights in common with its embeddings, which the library cannot part.
    assert run(["doctor", "--device-map", '{"model": "cpu", "lm_head": "disk"}']) == 1
    assert "the self-check did not run through" in capsys.readouterr().out
    assert run(["doctor", "--device-map", '{"": "cpu"}']) == 0
    assert "one device must do all the computing" in capsys.readouterr().out
