"""Steps follow from epochs, and the learning rate falls by the epoch as torch's StepLR does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stepsight.training.recipe.steps import Optimisation
from stepsight.training.schedule import FallingByEpoch, count_steps


def how(**values: Any) -> Optimisation:
    return Optimisation(**{"batch": 4, "learning_rate": 1.0, "warmup": 0, "schedule": "step", **values})


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 3}, 30),
        ({"epochs": 0.5}, 5),
        ({"epochs": 0.01}, 1),
        ({"epochs": 3, "batch": 7}, 18),
    ],
)
def test_steps_follow_from_epochs(values: dict[str, Any], steps: int) -> None:
    assert count_steps(how(**values), 40) == steps


def test_the_paper_takes_9243_steps() -> None:
    assert count_steps(how(epochs=3, batch=32), 98_582) == 9243


def test_the_rate_falls_as_torch_would_have_it() -> None:
    rows, batch, epochs = 40, 4, 3
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1e-5)
    paper = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.85)
    wanted = []
    for _ in range(epochs):
        for _ in range(rows // batch):
            optimiser.step()
            wanted.append(paper.get_last_lr()[0])
        paper.step()
    falling = FallingByEpoch(how(steps=1), rows)
    assert [1e-5 * falling(step) for step in range(len(wanted))] == pytest.approx(wanted)
    assert wanted[-1] == pytest.approx(0.85**2 * 1e-5)


def test_the_rate_rises_first() -> None:
    falling = FallingByEpoch(how(steps=1, warmup=4, gamma=0.5), rows=8)
    assert [falling(step) for step in range(6)] == [0, 0.25, 0.5 * 0.5, 0.75 * 0.5, 0.25, 0.25]
