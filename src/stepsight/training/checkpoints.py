"""What lies in a run's folder: which checkpoints are whole, and which hold only a part of a model. Nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path

SHARDS = "pytorch_model_fsdp_0"
"""Folder of a checkpoint in which accelerate keeps the shards of the weights."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The files in which PEFT keeps adapters."""


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is complete."""
    complete = [path for path in folder.glob("checkpoint-*") if is_complete(path)]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def is_complete(checkpoint: Path) -> bool:
    """Whether `trainer_state.json`, which is written last, is there and was not cut short."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def is_part(folder: Path) -> bool:
    """Whether the weights in a folder are in shards, or are adapters without their base model."""
    return (folder / SHARDS).is_dir() or (folder / ADAPTER_CONFIG).is_file()
