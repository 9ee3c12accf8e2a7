"""Recipes of tiny runs, and what such runs leave."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from .conftest import SIZES


def write(folder: Path, name: str = "run", **changes: Any) -> Path:
    """A recipe of six steps in `folder`; `optimisation` is merged, everything else replaced."""
    recipe: dict[str, Any] = {
        "task": "sft",
        "start": {"build": SIZES.model_dump()},
        "data": {"mixture": {"screen": 0.5, "read": 0.5}, "seed": 3},
        "out": str(folder / name),
    }
    how = {"steps": 6, "batch": 2, "learning_rate": 3e-3, "warmup": 1, "bf16": False, "workers": 0}
    how |= {"save_every": 2, "log_every": 1} | changes.pop("optimisation", {})
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe | changes | {"optimisation": how}), encoding="utf-8")
    return path


def weights(model: Path) -> dict[str, torch.Tensor]:
    """The weights of a model folder."""
    return load_file(model / "model.safetensors")


def check_weights(one: Path, other: Path, atol: float = 1e-4) -> None:
    """Check that two model folders hold the same weights."""
    wanted, found = weights(one), weights(other)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        # Attention does not change with a bias of its keys. Its gradient is rounding alone, which Adam makes large.
        if not name.endswith("k_proj.bias"):
            assert torch.allclose(value, found[name], atol=atol), name


def logged(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; one that is no JSON, or holds a NaN, is a failure."""
    return [json.loads(line, parse_constant=pytest.fail) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    """The loss of every step of a run."""
    return [line["loss"] for line in logged(folder) if "loss" in line]


def staged_rows(folder: Path, pictured: str) -> dict[str, str]:
    """The `data` of a recipe with one row for each letter of `pictured`: with a picture where it is `p`."""
    rng = random.Random(5)
    lines = []
    for number, letter in enumerate(pictured):
        pair = [
            {"from": "human", "value": "What is it?" + " And why?" * rng.randrange(5)},
            {"from": "gpt", "value": "<SUMMARY> I look. </SUMMARY>" + " It is red." * rng.randrange(9)},
        ]
        row: dict[str, Any] = {"id": str(number), "conversations": pair}
        if letter == "p":
            row["image"] = f"{number}.png"
            Image.new("RGB", (112, 112), (rng.randrange(256), rng.randrange(256), 90)).save(folder / row["image"])
        lines.append(json.dumps(row) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return {"rows": str(folder / "rows.jsonl"), "images": str(folder)}
