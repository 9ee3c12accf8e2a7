"""A model as what differs from another one: its changed weights, in half of the room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stepsight.errors import ModelError


def write_delta(model: Any, base: Any, path: Path) -> int:
    """Write the weights of `model` that differ from those of `base`, in bfloat16 if they are floats.

    Returns:
        How many tensors differ.

    Raises:
        ModelError: The two are not built alike, or are the same.
    """
    held, given = model.state_dict(), base.state_dict()
    if {name: value.shape for name, value in held.items()} != {name: value.shape for name, value in given.items()}:
        raise ModelError("the two models are not built alike", hint="give the model that this one was trained from")
    changed: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in held.items():
        # Tied weights have several names and are written once.
        if value.data_ptr() in seen or torch.equal(value, given[name]):
            continue
        seen.add(value.data_ptr())
        changed[name] = value.to(torch.bfloat16 if value.is_floating_point() else value.dtype).contiguous()
    if not changed:
        raise ModelError("the two models are the same", hint="give a model that was trained on")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(changed, path, metadata={"format": "pt"})
    return len(changed)


def apply_delta(model: Any, path: Path) -> None:
    """Put the weights in `path` where those of the loaded `model` are.

    Raises:
        ModelError: The file cannot be read, or its weights are not those of such a model.
    """
    try:
        changed = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    held = model.state_dict()
    strangers = [name for name, value in changed.items() if name not in held or held[name].shape != value.shape]
    if strangers:
        raise ModelError(
            f"{path} does not belong to its base: {len(strangers)} weights have no place there, such as {strangers[0]}"
        )
    with torch.no_grad():
        for name, value in changed.items():
            held[name].copy_(value)
