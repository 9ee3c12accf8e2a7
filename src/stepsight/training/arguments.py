"""From a recipe to what transformers' `Trainer` is told, checked before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from stepsight.errors import InputError, ModelError, StepsightError
from stepsight.training.devices import PATIENCE, Devices, fsdp_settings, rows_per_turn, zero3_settings
from stepsight.training.model.start import start_type
from stepsight.training.model.towers import reached_by_pictures
from stepsight.training.recipe.train import TrainRecipe

LIGER_FAMILIES = ("gemma3", "internvl", "llava", "mllama", "qwen2_5_vl", "qwen3_vl", "smolvlm")
"""Model types whose layers liger-kernel 0.8.5 replaces, of those that the engine runs."""


def training_arguments(recipe: TrainRecipe, model: Any, devices: Devices, steps: int) -> TrainingArguments:
    """What `Trainer` is told.

    Args:
        recipe: checked by `check_options` and `check_devices`.
        model: that is going to be trained.
        devices: on which.
        steps: of the run.
    """
    how = recipe.optimisation
    way = recipe.sharding.way
    sharded = way == "fsdp"
    return TrainingArguments(
        output_dir=str(recipe.out),
        max_steps=steps,
        per_device_train_batch_size=rows_per_turn(how, devices),
        gradient_accumulation_steps=how.accumulate,
        learning_rate=how.learning_rate,
        warmup_steps=how.warmup,
        lr_scheduler_type="constant" if how.schedule == "step" else how.schedule,
        weight_decay=how.weight_decay,
        max_grad_norm=0.0 if how.clip == "off" else how.clip,
        bf16=bf16_here() if how.bf16 == "auto" else how.bf16,
        # Sharded layers are checkpointed by accelerate, which spares gathering them twice.
        activation_checkpointing=how.checkpointing and not sharded,
        activation_checkpointing_kwargs={"use_reentrant": False} if how.checkpointing and not sharded else None,
        use_liger_kernel=how.liger,
        # The loss is our own; what liger would put in place of the model's stands in the way of it.
        liger_kernel_config={"fused_linear_cross_entropy": False, "cross_entropy": False} if how.liger else None,
        seed=how.seed,
        save_steps=how.save_every,
        save_total_limit=2,
        logging_steps=how.log_every,
        dataloader_num_workers=how.workers,
        dataloader_prefetch_factor=4 if how.workers else None,
        remove_unused_columns=False,
        report_to=recipe.report_to,
        use_cpu=not torch.cuda.is_available(),
        # A batch without pictures leaves the vision tower without gradients on its device.
        ddp_find_unused_parameters=any(one.requires_grad for one in reached_by_pictures(model)),
        ddp_timeout=int(PATIENCE.total_seconds()),
        fsdp=sharded,  # type: ignore[arg-type]
        fsdp_config=fsdp_settings(recipe, model) if sharded else None,
        deepspeed=zero3_settings(recipe) if way == "zero3" else None,
    )


def check_options(recipe: TrainRecipe) -> None:
    """Check what a recipe asks of this machine and of other packages.

    Raises:
        InputError: a tracker that transformers does not know, or fused kernels without a graphics card.
        ModelError: fused kernels for a family that has none.
        StepsightError: a package is not installed.
    """
    for name in recipe.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            raise InputError(f"report_to: no tracker is called {name}", hint=", ".join(sorted(INTEGRATION_TO_CALLBACK)))
        if name not in get_available_reporting_integrations():
            raise StepsightError(f"report_to: {name} is not installed", hint=f"pip install {name}")
    if recipe.optimisation.liger:
        check_liger(start_type(recipe), card=torch.cuda.is_available())


def check_liger(model_type: str, *, card: bool) -> None:
    """Check that liger's kernels can be used.

    Raises:
        InputError: there is no graphics card.
        ModelError: the family has no such kernels.
        StepsightError: liger-kernel is not installed.
    """
    if not card:
        raise InputError("liger's kernels run on graphics cards only", hint="leave out optimisation.liger")
    if model_type not in LIGER_FAMILIES:
        raise ModelError(
            f"liger has no kernels for models of type {model_type}, only for {', '.join(LIGER_FAMILIES)}",
            hint="leave out optimisation.liger",
        )
    if find_spec("liger_kernel") is None:
        raise StepsightError("liger-kernel is not installed", hint="pip install liger-kernel")


def bf16_here() -> bool:
    """Whether this machine multiplies bfloat16 in hardware, so that computing in it is faster."""
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported()) or bool(
        torch.cpu._is_amx_tile_supported()
    )
