"""Loss and token accuracy of held-out answers, stage by stage."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer

from stepsight.training.encoding.exchange import IGNORED
from stepsight.training.losses import blank_rows_unseen
from stepsight.training.watching.held_out import HeldOut
from stepsight.training.watching.stage_tokens import StageTokens
from stepsight.training.watching.watched import ALL, PARTS, StageLosses


def measure_stages(trainer: Trainer, processor: Any, stages: StageTokens, held: Sequence[HeldOut]) -> StageLosses:
    """Measure the model in training on held-out answers; call it inside `aside`.

    Processes of a distributed run share the batches and all get the whole result. All of them must call it: a sharded
    model runs everywhere at once, so each runs equally many batches, the last of some counting nothing.

    Args:
        trainer: gives the model, the batch of a device, and how rows are put together.
        processor: of the model.
        stages: for its tokenizer.
        held: what is measured.
    """
    accelerator, size = trainer.accelerator, trainer.args.per_device_train_batch_size
    rows = sorted(held, key=lambda one: one.length)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    sums = torch.zeros(len(PARTS), 3, dtype=torch.float64)
    for turn in range(math.ceil(len(batches) / accelerator.num_processes)):
        place = turn * accelerator.num_processes + accelerator.process_index
        encoded = [one.encode(processor) for one in batches[min(place, len(batches) - 1)]]
        batch: Any = trainer._prepare_inputs(trainer.data_collator(encoded))
        with torch.no_grad(), trainer.compute_loss_context_manager():
            losses, right = token_losses(trainer.model, batch)
        if place < len(batches):
            parts = torch.cat([stages.of_labels(one.labels) for one in encoded])
            seen = torch.stack([losses, right, torch.ones_like(losses)], dim=1)
            sums.index_add_(0, parts, seen.to("cpu", torch.float64))
    found = accelerator.reduce(sums.to(trainer.args.device), "sum").cpu() if accelerator.num_processes > 1 else sums
    named = {**dict(zip(PARTS, found, strict=True)), ALL: found.sum(0)}
    return StageLosses(
        rows=len(rows),
        tokens={str(part): int(count) for part, (_, _, count) in named.items() if count},
        loss={str(part): float(loss / count) for part, (loss, _, count) in named.items() if count},
        token_accuracy={str(part): float(right / count) for part, (_, right, count) in named.items() if count},
    )


def token_losses(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of each labelled token in nats, and whether its likeliest prediction is right (1.0) or not.

    The model is called as a whole, as sharded ones must be, and makes logits where some row has a label.

    Args:
        model: an image-text-to-text model of transformers, or one with adapters.
        batch: as training has it.

    Returns:
        Both [labelled] float32, row by row.
    """
    takes = inspect.signature(getattr(model, "get_base_model", lambda: model)().forward).parameters
    inputs = {name: value for name, value in batch.items() if name in takes and name != "labels"}
    targets = batch["labels"][:, 1:]
    where = targets != IGNORED
    columns = where.any(0).nonzero()[:, 0]
    with blank_rows_unseen(model, batch):
        logits = model(**inputs, use_cache=False, logits_to_keep=columns).logits  # [rows, columns, vocabulary]
    logits, targets = logits[where[:, columns]].float(), targets[where]
    return functional.cross_entropy(logits, targets, reduction="none"), (logits.argmax(-1) == targets).float()
