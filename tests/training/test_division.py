"""One batch of 8, twice 4, and 4 on each of two processes teach the same: the same loss, the same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from .gradients import record
from .launching import TORCHRUN, launch
from .runs import losses, staged_rows, write


def recipe(folder: Path, start: dict[str, str], kind: str, name: str, **how: Any) -> Path:
    kinds: dict[str, dict[str, Any]] = {
        "rows": {"data": staged_rows(folder, "pttptptt")},
        "marks": {"data": {"mixture": {"screen": 0.4, "read": 0.6}, "seed": 3, "marks": {"wrong": 3.0}}},
        "reward": {"task": "reward", "data": {"spoiled": 1.0, "end_weight": 4.0}},
    }
    changes = kinds[kind] | {"sharding": {"way": how.pop("way", "none")}}
    one_step = {"steps": 1, "batch": 8, "warmup": 0, "clip": "off", "save_every": 5}
    return write(folder, f"{kind}-{name}", start=start, **changes, optimisation=one_step | how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("division")


@pytest.fixture(scope="module")
def whole(folder: Path, start: dict[str, str]) -> dict[str, dict[str, torch.Tensor]]:
    return {kind: record(recipe(folder, start, kind, "whole")) for kind in ("rows", "marks", "reward")}


def check(folder: Path, kind: str, name: str, wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    assert losses(folder / f"{kind}-{name}") == pytest.approx(losses(folder / f"{kind}-whole"), abs=1e-5)
    assert wanted.keys() == found.keys()
    assert max(float(value.abs().max()) for value in wanted.values()) > 1e-2
    for key, value in wanted.items():
        assert torch.allclose(value, found[key], atol=1e-5), (kind, name, key)


@pytest.mark.parametrize("kind", ["rows", "marks", "reward"])
def test_turns_add_up_to_the_whole_batch(
    folder: Path, start: dict[str, str], kind: str, whole: dict[str, dict[str, torch.Tensor]]
) -> None:
    found = record(recipe(folder, start, kind, "turns", accumulate=2))
    check(folder, kind, "turns", whole[kind], found)


def test_checkpointing_changes_no_gradient(
    folder: Path, start: dict[str, str], whole: dict[str, dict[str, torch.Tensor]]
) -> None:
    found = record(recipe(folder, start, "rows", "again", checkpointing=True))
    check(folder, "rows", "again", whole["rows"], found)


def test_two_processes_add_up_to_the_whole_batch(
    folder: Path, start: dict[str, str], whole: dict[str, dict[str, torch.Tensor]]
) -> None:
    runs: dict[tuple[str, str], dict[str, Any]] = {
        ("rows", "two"): {},
        ("rows", "two-turns"): {"accumulate": 2, "checkpointing": True},
        ("rows", "sharded"): {"way": "fsdp", "accumulate": 2},
        ("marks", "two"): {},
        ("reward", "two"): {"accumulate": 2},
    }
    paths = [recipe(folder, start, kind, name, **how) for (kind, name), how in runs.items()]
    launch(TORCHRUN, str(Path(__file__).with_name("gradients.py")), *map(str, paths))
    for kind, name in runs:
        found = torch.load(folder / f"{kind}-{name}" / "gradients.pt", weights_only=True)
        check(folder, kind, name, whole[kind], found)
