"""`transformers.Trainer` with our loss, our order and our log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from stepsight.errors import ModelError

Loss = Callable[[Any, dict[str, torch.Tensor]], tuple[torch.Tensor, dict[str, torch.Tensor]]]
"""From a model and a batch to the loss and to what else is worth logging."""


class StagedTrainer(Trainer):
    """`Trainer` with a given loss, reading the dataset in its own order (which is already random).

    A loss is a mean over its batch, so gradients must not be accumulated over several batches of unlike size.
    """

    def __init__(self, *, loss: Loss, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.loss = loss
        self.seen: dict[str, list[torch.Tensor]] = {}

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch."""
        loss, seen = self.loss(model, inputs)
        for name, value in seen.items():
            self.seen.setdefault(name, []).append(value.detach())
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what the loss has seen since the last line: means over the batches that could say."""
        means = {name: float(torch.stack(values).nanmean()) for name, values in self.seen.items()}
        self.seen = {}
        seen = {name: round(value, 4) for name, value in means.items() if not math.isnan(value)}
        super().log({**logs, **seen}, start_time)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Folders of some families (LLaVA among them) name weights otherwise than the module does; `Trainer` itself
        # would warn that every key is missing, load nothing, and go on.
        into: Any = self.model if model is None else model
        saved, report = type(into).from_pretrained(
            resume_from_checkpoint, dtype=torch.float32, output_loading_info=True
        )
        if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
            raise ModelError(
                f"the weights in {resume_from_checkpoint} are not those of the model in training",
                hint="start the run over, or give it a new folder",
            )
        into.load_state_dict(saved.state_dict())

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        return torch.utils.data.SequentialSampler(dataset)


class LogFile(TrainerCallback):
    """Appends every logged line to `log.jsonl`; a run that goes on first drops what it is going to do again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the lines up to the step at which training goes on."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= state.global_step]
            self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def _step_of(line: str) -> float:
    """The step of a logged line; infinity for a line that was cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
