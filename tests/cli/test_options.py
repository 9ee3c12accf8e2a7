"""The options of loading mean the same to every verb that takes a model."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
from PIL import Image
from tests.scripts import scripted_model

from stepsight.assembly import LoadedModel, ModelChoice
from stepsight.cli.app import run
from stepsight.findings import Cpu, Diagnosis, Machine, Memory, Model

OPTIONS = {
    "--model": "owner/model",
    "--dtype": "bfloat16",
    "--revision": "v1",
    "--device-map": '{"": "cuda:1"}',
    "--attention": "eager",
    "--quantize": "8bit",
    "--cache-gb": "2.5",
    "--max-rows": "7",
    "--threads": "3",
    "--rows-gb": "1.5",
    "--shared-prefix": "on",
}
MEANT = ModelChoice(
    "owner/model",
    dtype="bfloat16",
    revision="v1",
    trust_remote_code=True,
    device_map='{"": "cuda:1"}',
    attention="eager",
    quantize="8bit",
    cache_gb=2.5,
    max_rows=7,
    threads=3,
    rows_gb=1.5,
    shared_prefix="on",
)


@pytest.mark.parametrize("verb", ["ask", "eval", "doctor"])
def test_every_option_of_loading_reaches_the_choice(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choices: list[ModelChoice] = []

    def load(choice: ModelChoice) -> LoadedModel:
        choices.append(choice)
        return scripted_model()

    def diagnose(choice: ModelChoice, **_: object) -> Diagnosis:
        choices.append(choice)
        machine = Machine(packages={}, python="3", system="x", cpu=Cpu(name="x", cores=1), memory=Memory())
        return Diagnosis(machine=machine, model=Model(name="x", source="x"))

    monkeypatch.setattr("stepsight.assembly._load", load)
    monkeypatch.setattr("stepsight.assembly._shelf", OrderedDict())
    monkeypatch.setattr("stepsight.diagnosis.diagnose", diagnose)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": "1", "text": "How many?", "images": ["a.png"], "answer": "1"}\n')
    given = {"ask": [str(tmp_path / "a.png"), "How many?"], "eval": ["--questions", str(questions)], "doctor": []}
    words = [word for pair in OPTIONS.items() for word in pair]
    assert run([verb, *given[verb], *words, "--trust-remote-code", "--json"]) == 0, capsys.readouterr().err
    assert choices == [MEANT]
    choices.clear()
    assert run([verb, *given[verb], "--model", "owner/model", "--json"]) == 0
    assert choices == [ModelChoice("owner/model")]
