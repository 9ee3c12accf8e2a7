"""Help and version answer without loading anything heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stepsight
from stepsight.cli.app import run

SOURCE = Path(stepsight.__file__).parent.parent
HEAVY = {"torch", "transformers", "PIL", "numpy", "yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["ask", "--help"],
        ["draw", "-h"],
        ["train", "-h"],
        ["eval", "-h"],
        ["doctor", "-h"],
        ["reproduce", "-h"],
        ["improve", "-h"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import atexit, runpy, sys
atexit.register(lambda: print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr))
sys.argv = ["stepsight", *{arguments!r}]
runpy.run_module("stepsight", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: stepsight" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_the_program_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stepsight", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in ("ask", "draw", "train", "eval", "doctor"))
    assert done.stderr == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("stepsight")
