"""Bodies from the interface's own description, and hostile ones: nothing but clear refusals, and the server lives on.

`benchmarks/serving_fuzz.py` does the same for as long as one likes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepsight.testing.hostile import BAD, ODD
from stepsight.testing.processes import MARKED, Served, messages, png, posted, served

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def marked() -> Iterator[Served]:
    with served(MARKED) as server:
        yield server


def test_schemathesis_finds_no_fault(marked: Served, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{marked.root}/openapi.json", "--no-color"]
    options = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1"]
    bounds = ["--max-time", "60", "--request-timeout", "60"]
    done = subprocess.run(
        [*command, *options, *bounds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert marked.metric('stepsight_requests_total{path="/v1/chat/completions",status="400"}') > 10
    assert marked.metric('stepsight_requests_total{path="/v1/chat/completions",status="200"}') > 0


def test_hostile_pictures_are_refused_in_time_and_memory(marked: Served) -> None:
    posted(f"{marked.url}/chat/completions", {"model": "marked@greedy", "messages": messages(png())})
    before = marked.book("resident")
    for name, make in {**BAD, **ODD}.items():
        body = {"model": "marked@greedy", "messages": messages(make())}
        status, _, reply = posted(f"{marked.url}/chat/completions", body)
        assert status == 400 if name in BAD else status in (200, 400), (name, reply)
    assert marked.book("resident") - before < 300_000_000
    status, _, reply = posted(f"{marked.url}/chat/completions", {"model": "marked@greedy", "messages": messages(png())})
    assert (status, reply["choices"][0]["message"]["content"]) == (200, "#ff0000")
    assert marked.metric("stepsight_searches_running") == 0
