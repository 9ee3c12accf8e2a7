"""`transformers.Trainer` with our loss, our order and our log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, gather_object
from peft import PeftModel
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import Trainer, TrainerCallback

from stepsight.errors import ModelError
from stepsight.training.checkpoints import SHARDS
from stepsight.training.interrupts import spare_workers
from stepsight.training.model.adapters import load_adapters
from stepsight.training.pictureless import BLANK, LeaveUnseen
from stepsight.training.saving import save_beside

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loss:
    """What a step brings down.

    Attributes:
        compute: from a model, a batch and the weights of the whole batch of the step to the loss and to what else is
            worth logging. Without the third, the batch counts as whole.
        weigh: what the terms of the loss are divided by, [terms], for one batch: so the parts of a step, computed one
            after another or on several devices, sum up to the mean over all of it. None where a loss is no such mean,
            and a step is never divided.
    """

    compute: Callable[..., tuple[torch.Tensor, dict[str, torch.Tensor]]]
    weigh: Callable[[Batch], torch.Tensor] | None = None


class StagedTrainer(Trainer):
    """`Trainer` with a given loss, reading the dataset in its own order (which is already random).

    Args:
        loss: of a step.
        processor: saved beside the weights of every checkpoint.
        falling: what the peak learning rate is multiplied by at a step, instead of the library's schedule.
        arguments: as `Trainer` has them.
    """

    # Parts of a step are divided by the weights of all of it already.
    loss_is_scaled_for_ga = True

    def __init__(
        self, *, loss: Loss, processor: Any, falling: Callable[[int], float] | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.loss, self.processor, self.falling = loss, processor, falling
        self.seen: dict[str, list[torch.Tensor]] = {}
        self.pictured = True
        self._given: tuple[Batch, torch.Tensor | None] = ({}, None)
        self.add_callback(LeaveUnseen(self))

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator; one that was to shard and does not is an error."""
        if self.args.fsdp and self.args.device.type == "cpu":
            # accelerate shards over cards only and would keep whole copies on processors without a word. torch shards
            # over both, so processors are declared cards here; what is then run is what runs on cards.
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            raise ModelError("accelerate does not shard on this kind of device", hint="use sharding.way: none")
        if self.args.fsdp and self.args.bf16:
            # accelerate's own choice sums gradients up, and gives the loss, in bfloat16.
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = policy

    def _prepare_for_training(self, *arguments: Any) -> Any:
        # Here and not earlier: liger may have put another forward in place.
        self._compute_loss_inside(self.model)
        return super()._prepare_for_training(*arguments)

    def _compute_loss_inside(self, model: Any) -> None:
        """Make the loss part of the model's own forward.

        What wraps a model for several devices, or computes it in bfloat16, acts on its forward alone.
        """
        plain = model.forward
        inner = model.get_base_model() if isinstance(model, PeftModel) else model

        @wraps(plain.__func__)
        def forward(_: Any, *values: Any, of_a_step: bool = False, **named: Any) -> Any:
            if not of_a_step:
                return plain(*values, **named)
            # Not handed through as arguments: FSDP would round weights and their sum to bfloat16.
            batch, whole = self._given
            return self.loss.compute(inner, batch) if whole is None else self.loss.compute(inner, batch, whole)

        model.forward = MethodType(forward, model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """This part's share of the step's loss, times the number of devices, over which gradients are averaged."""
        assert num_items_in_batch is None or isinstance(num_items_in_batch, torch.Tensor)
        self._given = inputs, num_items_in_batch
        loss, seen = model(of_a_step=True)
        for name, value in seen.items():
            self.seen.setdefault(name, []).append(value.detach())
        loss = loss * self.args.world_size
        return (loss, {}) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> torch.Tensor | None:
        """The weights of a step's loss over all its parts and devices, [terms]."""
        blank = [batch.pop(BLANK, None) is not None for batch in batch_samples]
        if self.loss.weigh is None or not batch_samples:
            return None
        weights = torch.stack([self.loss.weigh(batch) for batch in batch_samples]).sum(0)
        counts = torch.cat([weights, weights.new_tensor([len(blank) - sum(blank)])]).to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # elsewhere it is not worth waiting for a card
            self.pictured = bool(counts[-1])
        return counts[:-1]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The library's schedule, or the given one."""
        if self.falling is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            steered: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(steered, self.falling)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what the loss has seen since the last line: means over the batches that could say.

        To be called by every process.
        """
        means = {name: float(torch.stack(values).nanmean()) for name, values in self.seen.items()}
        self.seen = {}
        said = gather_object([means]) if self.args.world_size > 1 else [means]
        for name in dict.fromkeys(name for one in said for name in one):
            known = [one[name] for one in said if not math.isnan(one.get(name, math.nan))]
            if known:
                logs[name] = round(sum(known) / len(known), 4)
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights, with the processor, so that the folder of a checkpoint can be used as a model's."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            save_beside(Path(output_dir or str(self.args.output_dir)), self.model, self.processor)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # What is written next says that a checkpoint is whole, so every process must have written its part.
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        into: Any = self.model if model is None else model
        folder = Path(resume_from_checkpoint)
        if (folder / SHARDS).is_dir() != self.is_fsdp_enabled:
            how = "whole" if self.is_fsdp_enabled else "in shards"
            raise ModelError(
                f"{folder} was saved {how}, and this run would read it otherwise",
                hint="give sharding.way as it was, or start from the checkpoint with a new `out`",
            )
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, into)
        elif isinstance(into, PeftModel):
            load_adapters(into, folder)
        else:
            _load_whole(into, resume_from_checkpoint)

    def get_train_dataloader(self) -> Any:
        """The library's, whose workers let the run stop in peace."""
        loader = super().get_train_dataloader()
        spare_workers(loader)
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        return torch.utils.data.SequentialSampler(dataset)


def _load_whole(into: Any, folder: str) -> None:
    # Folders of some families (LLaVA among them) name weights otherwise than the module does; `Trainer` itself
    # would warn that every key is missing, load nothing, and go on.
    saved, report = type(into).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise ModelError(
            f"the weights in {folder} are not those of the model in training",
            hint="start the run over, or give it a new folder",
        )
    into.load_state_dict(saved.state_dict())


class LogFile(TrainerCallback):
    """Appends every logged line to `log.jsonl`; a run that goes on first drops what it is going to do again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the lines up to the step at which training goes on."""
        if state.is_world_process_zero and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= state.global_step]
            self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Add a line; what sums up a run is left out where it only stops for a while."""
        if not state.is_world_process_zero or ("train_runtime" in logs and state.global_step < state.max_steps):
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def _step_of(line: str) -> float:
    """The step of a logged line; infinity for a line that was cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
