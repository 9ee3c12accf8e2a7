"""A recipe trains other families than pico's, on rows with and without pictures; one that is not proven is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from stepsight.errors import ModelError
from stepsight.training.run import train

from .tiny_rows import PICTURES, tiny


def recipe(folder: Path, start: Path) -> Path:
    PICTURES[1].save(folder / "0.png")
    says = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cube."}]
    rows: list[dict[str, Any]] = [{"id": str(number), "conversations": says} for number in range(4)]
    rows[1]["image"] = rows[2]["image"] = "0.png"
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    how = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "warmup": 0, "bf16": False, "workers": 0}
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "task": "sft",
                "start": {"folder": str(start)},
                "data": {"rows": str(folder / "train.jsonl"), "images": str(folder)},
                "optimisation": how | {"save_every": 2, "log_every": 1},
                "out": str(folder / "run"),
            }
        )
    )
    return path


@pytest.mark.parametrize("family", ["idefics3", "mllama"])
def test_a_run_of_another_family(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    made = tiny(family)
    made.model.save_pretrained(tmp_path / "start")
    made.processor.save_pretrained(tmp_path / "start")
    path = recipe(tmp_path, tmp_path / "start")
    train(path, dry_run=True)
    assert "<|assistant|>⟦A cube.<|end|>⟧" in capsys.readouterr().out
    final = train(path)
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "start", final))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any("vision" in name for name in changed)
    assert any("text_model" in name or "language_model" in name for name in changed)
    assert AutoModelForImageTextToText.from_pretrained(final).config.model_type == made.model.config.model_type


def test_a_family_that_is_not_proven_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    with pytest.raises(ModelError, match="models of type 'qwen2_vl' cannot be trained"):
        train(recipe(tmp_path, tmp_path / "start"))
