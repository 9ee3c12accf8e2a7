"""Docs are true: what README and docs tell a reader to run is run here, or checked as far as that is possible.

A fenced block says in its first line what happens to it: `sh run` and `python run` are run, in one folder per page and
in the page's order; `sh long` is for commands that take long, need a network or install things: of these every
`stepsight` command must parse, every recipe and `make` word must exist. Other fenced blocks may hold no command.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import click
import pytest
import typer.main

from stepsight.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_marked(page: Path) -> None:
    for kind, text in blocks(page):
        assert kind in ("sh run", "sh long", "python run", "text", "json", "yaml", "python"), f"{page.name}: {kind!r}"
        if kind in ("text", "json", "yaml"):
            assert not re.search(r"^(stepsight|make|pip) ", text, re.MULTILINE), f"{page.name}: a command in {kind!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_runnable_blocks_run(page: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, text in blocks(page):
        if kind not in ("sh run", "python run"):
            continue
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh run" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_long_commands_parse(page: Path) -> None:
    for kind, text in blocks(page):
        if kind != "sh long":
            continue
        for line in commands(text):
            words = shlex.split(line)
            if words[0] == "stepsight":
                check_stepsight(words[1:])
            elif words[0] in ("torchrun", "accelerate"):
                assert words[words.index("stepsight") - 1] == "-m", line
                check_stepsight(words[words.index("stepsight") + 1 :])
            elif words[0] == "make":
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
            elif words[0] in ("python", "sh"):
                assert (ROOT / words[1]).is_file(), line
            else:
                assert words[0] in ("pip", "git", "cd"), line


def check_stepsight(words: list[str]) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    verb = group.commands[words[0]]
    verb.make_context(words[0], list(words[1:]))
    for word in words:
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file(), word


def test_the_data_demo_runs_and_goes_on(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(ROOT / "examples/data_demo.sh"), str(tmp_path / "made"), "8"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    made = tmp_path / "made"
    rows, rejects = ((made / f"built/{name}.jsonl").read_text().splitlines() for name in ("train", "rejects"))
    assert rows
    assert len(rows) + len(rejects) == 8
    for name in ("built/manifest.json", "sheet.html", "audit.html", "for-trl/train.jsonl", "for-ms-swift/train.jsonl"):
        assert (made / name).is_file()
        assert f"{name.split('/')[0]}" in done.stdout
    # The server was ended: nobody answers at its address.
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen((made / "url.txt").read_text().strip() + "/models", timeout=5)


def examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", examples(), ids=lambda script: script.name)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 25
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout
