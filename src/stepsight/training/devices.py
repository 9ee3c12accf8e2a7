"""On how many devices a run is computed, and how it is spread over them.

A launcher (`torchrun`, or `accelerate launch`) starts one process for each device and tells each its number; everything
else comes from the recipe. What has been run is processes on CPUs, with whole copies and with FSDP2; NVIDIA cards take
the same way through accelerate, and DeepSpeed is configured here without having been run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import disable_fsdp_ram_efficient_loading, enable_fsdp_ram_efficient_loading

from stepsight.errors import InputError, ModelError, StepsightError
from stepsight.training.recipe.data import WorldLessons
from stepsight.training.recipe.steps import Optimisation
from stepsight.training.recipe.train import StartFromFolder, TrainRecipe

PATIENCE = timedelta(hours=2)
"""How long a device waits for another: one of them alone writes the weights at the end."""
_LAUNCHER = (
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
    "ACCELERATE_MIXED_PRECISION",
)


@dataclass(frozen=True)
class Devices:
    """How many processes compute a run, and which of them this is, counted from 0."""

    count: int = 1
    index: int = 0

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.index == 0


def launched_devices() -> Devices:
    """What the launcher has told this process; one device without a launcher."""
    return Devices(count=int(os.environ.get("WORLD_SIZE", "1")), index=int(os.environ.get("RANK", "0")))


def launch_command(count: int, recipe: Path) -> str:
    """The command that runs a recipe on so many devices of this machine."""
    return f"torchrun --nproc-per-node {count} -m stepsight train {recipe}"


def check_devices(recipe: TrainRecipe, devices: Devices, path: Path) -> None:
    """Check that a run can be computed on these devices, exactly as on one.

    Raises:
        InputError: several graphics cards without a launcher, sharding without several devices, a batch that cannot be
            divided, or a task whose loss is not that of the whole batch when it is divided.
        StepsightError: DeepSpeed is asked for and not installed.
    """
    if (cards := torch.cuda.device_count()) > 1 and devices.count == 1 and "RANK" not in os.environ:
        raise InputError(
            f"{cards} graphics cards are visible, and one process trains on one",
            hint=f"use all: {launch_command(cards, path)}; or choose one: CUDA_VISIBLE_DEVICES=0",
        )
    way = recipe.sharding.way
    if way != "none" and devices.count == 1:
        raise InputError(
            f"sharding.way is {way}, and there is one process to shard over",
            hint=f"{launch_command(2, path)}; or keep the model whole: --set sharding.way=none",
        )
    rows_per_turn(recipe.optimisation, devices)
    parts = devices.count * recipe.optimisation.accumulate
    if recipe.task == "align" and parts > 1:
        raise InputError(
            "align weighs names and patches over the whole batch, which is not divided exactly",
            hint="run it on one device with accumulate 1; it is short",
        )
    marks = isinstance(recipe.data, WorldLessons) and recipe.data.marks is not None
    if way != "none" and (recipe.task == "reward" or marks):
        raise InputError(
            "reward models and marks read weights of the word embeddings directly, which sharding takes apart",
            hint="keep the model whole on each device: --set sharding.way=none",
        )
    if way != "none" and recipe.optimisation.compile:
        raise InputError("compiled models are not sharded", hint="leave out optimisation.compile")
    if way == "zero3" and recipe.lora:
        raise InputError("adapters are not gathered from DeepSpeed's shards", hint="use sharding.way: fsdp")
    if way == "zero3":
        _require_deepspeed()


def rows_per_turn(how: Optimisation, devices: Devices) -> int:
    """How many rows a device computes at once: the batch over devices and turns.

    Raises:
        InputError: the batch cannot be divided so.
    """
    parts = devices.count * how.accumulate
    if how.batch % parts:
        raise InputError(
            f"a batch of {how.batch} rows cannot be divided over {devices.count} devices in {how.accumulate} turns",
            hint=f"choose a batch that is a multiple of {parts}",
        )
    return how.batch // parts


def join_devices(recipe: TrainRecipe, devices: Devices) -> None:
    """Connect this process with the others, and leave aside what a launcher's configuration says of sharding.

    Loading a model then gives weights to the first process alone, if they are going to be sharded from there.
    """
    for name in [name for name in os.environ if name in _LAUNCHER or name.startswith(("FSDP_", "ACCELERATE_DYNAMO_"))]:
        del os.environ[name]
    if devices.count == 1:
        return
    if torch.cuda.is_available():
        PartialState(timeout=PATIENCE)
    else:
        PartialState(cpu=True, timeout=PATIENCE)
    # New layers are put on top of real weights only, which every process then reads.
    grows = isinstance(recipe.start, StartFromFolder) and recipe.start.grow > 0
    if recipe.sharding.way == "fsdp" and not grows:
        enable_fsdp_ram_efficient_loading()
    else:
        disable_fsdp_ram_efficient_loading()


def wait_for_all(devices: Devices) -> None:
    """Go on when every process has come here."""
    if devices.count > 1:
        torch.distributed.barrier()


def fsdp_settings(recipe: TrainRecipe, model: Any) -> dict[str, Any]:
    """What transformers is to be told of FSDP2 (`TrainingArguments.fsdp_config`).

    Raises:
        ModelError: `sharding.wrap` names a class that the model has no layer of.
    """
    return {
        "version": 2,
        "transformer_layer_cls_to_wrap": wrapped_layers(model, recipe.sharding.wrap),
        "state_dict_type": "SHARDED_STATE_DICT",
        "reshard_after_forward": True,
        "cpu_ram_efficient_loading": True,
        "activation_checkpointing": recipe.optimisation.checkpointing,
    }


def wrapped_layers(model: Any, wanted: Iterable[str]) -> list[str]:
    """Names of the classes whose layers are sharded one by one.

    Raises:
        ModelError: one that is wanted is not in the model.
    """
    found = {type(module).__name__ for module in model.modules()}
    if unknown := sorted(set(wanted) - found):
        layers = sorted(name for name in found if name.endswith(("Layer", "Block")))
        raise ModelError(
            f"sharding.wrap: the model has no {', '.join(unknown)}", hint=f"its layers are {', '.join(layers)}"
        )
    # The library's list names parts of related models as well, over which accelerate would stumble.
    return sorted(wanted or found & set(model._no_split_modules or ()))


def zero3_settings(recipe: TrainRecipe) -> dict[str, Any]:
    """A configuration of DeepSpeed ZeRO-3; transformers fills in what is `auto` from the recipe's other values."""
    clip = recipe.optimisation.clip
    return {
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": 0.0 if clip == "off" else clip,
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def _require_deepspeed() -> None:
    from importlib.util import find_spec

    if find_spec("deepspeed") is None:
        raise StepsightError("deepspeed is not installed", hint="pip install deepspeed, or use sharding.way: fsdp")
