"""What a run leaves: a whole model, adapters beside it, and checkpoints that become a whole model on request."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import disable_fsdp_ram_efficient_loading
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from stepsight.errors import ModelError
from stepsight.training.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SHARDS
from stepsight.training.model.adapters import merge_adapters, save_adapters

if TYPE_CHECKING:
    from stepsight.training.trainer import StagedTrainer


def gather_weights(trainer: StagedTrainer) -> dict[str, torch.Tensor]:
    """The weights of a model in training, whole; of one with adapters, those of the adapters.

    Every process must call it, and the first alone is sure to get anything.
    """
    if isinstance(trainer.model, PeftModel):
        parts = get_peft_model_state_dict(trainer.model)
        return {name: part.full_tensor() if isinstance(part, DTensor) else part for name, part in parts.items()}
    weights: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights


def whole_model(trainer: StagedTrainer, weights: dict[str, torch.Tensor]) -> Any:
    """A model that holds `weights` and can be saved: the one in training, or a copy of one that is sharded."""
    model: Any = trainer.model
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        model.load_state_dict(weights)
        return model
    return _holding(model.config, model.generation_config, weights)


def save_merged(model: PeftModel, weights: dict[str, torch.Tensor], base: Any, adapter: Path, folder: Path) -> None:
    """Write the adapters, and the base model with them in its weights.

    Args:
        model: in training.
        weights: of its adapters.
        base: a fresh copy of what training started from.
        adapter: folder of the adapters.
        folder: of the merged model.
    """
    save_adapters(model, weights, adapter)
    merge_adapters(base, adapter).save_pretrained(folder)


def save_beside(folder: Path, model: Any, processor: Any) -> None:
    """Complete a checkpoint: the processor, and of a sharded model its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    if isinstance(model, PeftModel):
        model.peft_config["default"].save_pretrained(str(folder))
    elif not (folder / "config.json").exists():
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)


def make_whole(folder: Path, out: Path) -> None:
    """Write a whole model from a checkpoint in shards, from adapters, or from adapters in shards.

    Adapters are merged into the model that their configuration names.

    Raises:
        ModelError: the checkpoint or the base model cannot be read.
    """
    disable_fsdp_ram_efficient_loading()
    try:
        weights = _read_shards(folder) if (folder / SHARDS).is_dir() else {}
        if (folder / ADAPTER_CONFIG).is_file():
            model = _merged(folder, weights)
        else:
            config = AutoConfig.from_pretrained(folder)
            model = _holding(config, GenerationConfig.from_pretrained(folder), weights)
        model.save_pretrained(out)
        processors: Any = AutoProcessor
        processors.from_pretrained(folder).save_pretrained(out)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be made whole: {error}", hint="take another checkpoint") from error


def _holding(config: Any, generation: Any, weights: dict[str, torch.Tensor]) -> Any:
    """A model made of given weights, without room for others."""
    models: Any = AutoModelForImageTextToText
    with torch.device("meta"):
        model = models.from_config(config)
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    model.generation_config = generation
    return model


def _read_shards(folder: Path) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        whole = Path(made) / "weights.pt"
        dcp_to_torch_save(folder / SHARDS, whole)
        weights: dict[str, torch.Tensor] = torch.load(whole, weights_only=True)["model"]
    return weights


def _merged(folder: Path, weights: dict[str, torch.Tensor]) -> Any:
    name = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    models: Any = AutoModelForImageTextToText
    base = models.from_pretrained(name, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as made:
        if weights:
            save_file(weights, Path(made) / ADAPTER_WEIGHTS)
            PeftConfig.from_pretrained(str(folder)).save_pretrained(made)
        return merge_adapters(base, Path(made) if weights else folder)
