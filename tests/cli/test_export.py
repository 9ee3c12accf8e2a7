"""`stepsight export` renames what servers name otherwise, and the result is the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from stepsight.cli.app import run
from stepsight.model_folders import resolve_model


def test_the_shipped_model_is_written_as_servers_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "served"
    assert run(["export", "--out", str(out)]) == 0
    assert "weights renamed" in capsys.readouterr().out
    with safe_open(out / "model.safetensors", framework="pt") as held:
        tower = [name for name in held.keys() if name.startswith("vision_tower.")]  # noqa: SIM118 - not a mapping
    assert tower
    assert all(name.startswith("vision_tower.vision_model.") for name in tower)
    source = Path(resolve_model("pico"))
    assert {path.name for path in out.iterdir()} == {path.name for path in source.iterdir() if path.is_file()}
    # transformers reads it too, and finds the same weights.
    loader, processors = cast(Any, AutoModelForImageTextToText), cast(Any, AutoProcessor)
    before, info = loader.from_pretrained(source, output_loading_info=True)
    after, found = loader.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not found["missing_keys"]
    held_now = after.state_dict()
    assert all(torch.equal(value, held_now[name]) for name, value in before.state_dict().items())
    processors.from_pretrained(out)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["export", "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert run(["export", "--model", "owner/model", "--out", str(tmp_path / "new")]) == 2
    assert "hub id" in capsys.readouterr().err


def test_other_families_are_copied_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "idefics3"}))
    (folder / "model.safetensors").write_bytes(b"as it is")
    assert run(["export", "--model", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == b"as it is"
    assert "no weight had to be renamed" in capsys.readouterr().out
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    assert run(["export", "--model", str(folder), "--out", str(tmp_path / "broken")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "broken/config.json").exists()
