"""A real model behind real HTTP: pico, which knows nothing of what a probe asks, writes the same as it does here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stepsight import ask
from stepsight.assembly import ModelChoice, load_model
from stepsight.cli.ask import EXAMPLE_QUESTION, example_picture
from stepsight.engines.openai import probe_server
from stepsight.protocols import SampleRequest, SampleResult
from stepsight.testing import FakeServer, Manners


class PicoServer(FakeServer):
    """Serves the shipped model; it gives no log-probabilities."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Manners(models=("pico",), logprobs=0))
        self._folder = folder
        self._pico = load_model(ModelChoice()).engine

    def sampled(self, request: SampleRequest, seeds: Sequence[int]) -> SampleResult:
        return asyncio.run(self._pico.sample(request))

    def picture(self, url: str) -> Path:
        data = base64.b64decode(url.partition("base64,")[2])
        path = self._folder / f"{hashlib.sha256(data).hexdigest()}.png"
        path.write_bytes(data)
        return path


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PicoServer]:
    for name in ("STEPSIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = PicoServer(tmp_path)
    with server:
        yield server


def test_the_probe_needs_no_model_that_knows_the_days_of_the_week(served: PicoServer) -> None:
    report = probe_server(served.url)
    found = {name: finding.value.value for name, finding in report.findings()}
    assert {name for name, value in found.items() if value == "yes"} >= {
        "prefix",
        "images",
        "n",
        "stop_honoured",
        "stop_included",
        "stop_named",
        "cache",
    }
    assert "Monday" not in report.prefix.evidence


@pytest.mark.parametrize("search", ["greedy", "stage-beam"])
def test_the_text_is_the_same_as_without_a_server(served: PicoServer, search: str) -> None:
    picture = example_picture()
    here = ask(picture, EXAMPLE_QUESTION, search=search, width=1, temperature=0.0)
    there = ask(picture, EXAMPLE_QUESTION, search=search, width=1, temperature=0.0, server=served.url)
    assert there.trace.text == here.trace.text
    assert there.conclusion == "3"
    assert there.usage.kept == here.usage.kept
