"""Runs recipes of one step and keeps their gradients; a script for several processes, and a function for one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.distributed.tensor import DTensor

from stepsight.training import run
from stepsight.training.trainer import LogFile


class Recorder(LogFile):
    """Keeps the gradients of the last step in the run's folder, as `gradients.pt`."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Keep them."""
        kept = {
            name: value.grad.full_tensor() if isinstance(value.grad, DTensor) else value.grad.clone()
            for name, value in given["model"].named_parameters()
            if value.grad is not None
        }
        if state.is_world_process_zero:
            torch.save(kept, self.path.with_name("gradients.pt"))


def record(recipe: Path) -> dict[str, torch.Tensor]:
    """Run a recipe, unbounded by `clip`, and give its last gradients."""
    with mock.patch.object(run, "LogFile", Recorder):
        folder = run.train(recipe).parent
    gradients: dict[str, torch.Tensor] = torch.load(folder / "gradients.pt", weights_only=True)
    return gradients


if __name__ == "__main__":
    for path in sys.argv[1:]:
        record(Path(path))
