"""Batches without a picture, where a model is sharded over several devices.

Sharded layers are gathered by all devices at once, so none may leave its vision tower out: it sees a blank picture
whose row teaches nothing. Gradients are those of a run on one device: if no batch of a step has a picture, what only
pictures reach is left alone, momentum and weight decay included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from transformers import TrainerCallback

from stepsight.training.encoding.exchange import IGNORED, Encoded, encode_exchange
from stepsight.training.model.towers import reached_by_pictures
from stepsight.world.lessons import Span

if TYPE_CHECKING:
    from stepsight.training.trainer import StagedTrainer

BLANK = "blank"
"""Key of a batch that was given a blank picture."""
_SIDE = 64


class WithPicture:
    """A collator whose batches all hold a picture.

    Args:
        collate: from rows to a batch.
        processor: of the model in training.
    """

    def __init__(self, collate: Callable[[Sequence[Encoded]], dict[str, torch.Tensor]], processor: Any) -> None:
        self.collate = collate
        row = encode_exchange(processor, "", Image.new("RGB", (_SIDE, _SIDE)), (Span("."),))
        self.row = replace(
            row, labels=torch.full_like(row.labels, IGNORED), weights=torch.zeros_like(row.weights), marks=None
        )

    def __call__(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """The batch; with a row more, and marked, if none of the rows has a picture."""
        if any(row.pictures for row in rows):
            return self.collate(rows)
        return {**self.collate([*rows, self.row]), BLANK: torch.tensor(True)}


class LeaveUnseen(TrainerCallback):
    """Takes the zero gradients of blank pictures away before a step in which there was no other picture."""

    def __init__(self, trainer: StagedTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Of a sharded model, give the optimiser a state for every parameter."""
        if self.trainer.is_fsdp_enabled:
            begin_adam(self.trainer.optimizer)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take them away."""
        if not self.trainer.pictured:
            for parameter in reached_by_pictures(self.trainer.model):
                parameter.grad = None


def begin_adam(optimiser: Any) -> None:
    """Make the state with which Adam begins for every parameter that has none yet.

    Adam itself does so with a parameter's first gradient. A checkpoint in shards is read for all parameters at once,
    and one that was saved before some had a gradient could not be read.
    """
    for group in optimiser.param_groups:
        for one in group["params"]:
            if one not in optimiser.state:
                step = torch.zeros((), dtype=torch.float32, device=one.device if group.get("fused") else "cpu")
                optimiser.state[one] = {
                    "step": step,
                    "exp_avg": torch.zeros_like(one),
                    "exp_avg_sq": torch.zeros_like(one),
                }
