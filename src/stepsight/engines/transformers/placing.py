"""Devices, number formats and quantised weights: what a `Placement` means on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, cast

import torch

from stepsight.engines.placement import Placement
from stepsight.errors import MissingExtraError, ModelError

_log = logging.getLogger(__name__)

EXTRA = "large"
"""The extra with the packages that large models ask for."""
RESTING = ("cpu", "disk")
"""Where parts of a map can rest that are fetched when they are run; without an accelerator the CPU computes."""


def check_placement(placement: Placement) -> None:
    """Check what can be checked of a placement without the model.

    Raises:
        MissingExtraError: A package that it needs is not installed.
        ModelError: Its map names several devices that compute.
    """
    needed = []
    if placement.device_map is not None or placement.quantize != "none":
        needed.append("accelerate")
    if placement.quantize != "none":
        needed.append("bitsandbytes")
    for package in needed:
        if find_spec(package) is None:
            raise MissingExtraError(package, EXTRA)
    if isinstance(placement.parts, Mapping):
        check_one_device(placement.parts.values())


def find_device(device: str) -> torch.device:
    """The device meant: "auto" is the first accelerator, else the CPU.

    Raises:
        ModelError: There is no such device here.
    """
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device '{device}' cannot be used: {str(error).strip().splitlines()[0]}") from error


def own_device(device: str, number: int) -> str:
    """The device of the copy `number` of a model, where it is left to us and there are several: they take turns."""
    count = torch.cuda.device_count()
    return f"cuda:{number % count}" if device in ("auto", "cuda") and count > 1 else device


def find_dtype(dtype: str) -> torch.dtype:
    """The number format of that name.

    Raises:
        ModelError: There is none.
    """
    found = getattr(torch, dtype, None)
    if not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ModelError(f"no dtype '{dtype}'", hint="such as 'float32' or 'bfloat16'")
    return found


def saved_dtype(config: Any) -> torch.dtype | None:
    """The number format that a checkpoint says it was saved in; None where it says nothing."""
    for part in (config, getattr(config, "text_config", None)):
        named = getattr(part, "dtype", None)
        if isinstance(named, str):
            named = getattr(torch, named, None)
        if isinstance(named, torch.dtype):
            return named
    return None


def quantisation(placement: Placement, config: Any) -> Any:
    """What the library needs to know to load quantised weights; None for weights as they are.

    Between the quantised layers the model computes in the dtype asked for, else in the checkpoint's.

    Raises:
        ModelError: The checkpoint is quantised already.
    """
    if placement.quantize == "none":
        return None
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError("the checkpoint is quantised already", hint="leave the option quantize out")
    from transformers import BitsAndBytesConfig

    make = cast(Any, BitsAndBytesConfig)
    if placement.quantize == "8bit":
        return make(load_in_8bit=True)
    computing = saved_dtype(config) if placement.dtype == "auto" else find_dtype(placement.dtype)
    # NF4 is the format made for weights that are spread like a normal distribution.
    return make(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=computing or torch.bfloat16)


def device_map_of(placement: Placement, config: Any) -> Any:
    """The map to load with; None where the model is loaded whole and then moved.

    Quantised weights cannot be moved, so they are loaded where they belong.

    Raises:
        ModelError: The device is not here.
    """
    parts = placement.parts
    if parts is None:
        quantised = placement.quantize != "none" or getattr(config, "quantization_config", None) is not None
        return {"": find_device(placement.device)} if quantised else None
    return parts if isinstance(parts, str) else dict(parts)


def check_one_device(devices: Iterable[object]) -> None:
    """Refuse a model that computes on several devices.

    Key-values of all layers stand in one buffer on one device (`slots.py`), and what runs between the layers (masks,
    embeddings, the head) is put on the same one. Layers elsewhere would need a buffer for each device. Parts that only
    rest elsewhere, in memory or on the disk, are fetched by accelerate when they are run; that is slow, and works.

    Raises:
        ModelError: There is more than one.
    """
    names = working(devices)
    if len(names) > 1:
        raise ModelError(
            f"the device map spreads the model over {', '.join(names)}, and this engine keeps the key-values of all "
            "layers on one device",
            hint="choose one with --device, make the weights smaller with --quantize, let parts rest on cpu or disk in "
            "a map, or use a server of the model",
        )


def working(devices: Iterable[object]) -> list[str]:
    """The devices of a map on which something is computed: all accelerators in it, else the CPU."""
    names = {str(device) for device in devices}
    return sorted(names - set(RESTING)) or ["cpu"]


def running_device(model: Any) -> torch.device:
    """Where a loaded model computes; its weights may rest elsewhere."""
    if not any(parameter.is_meta for parameter in model.parameters()):
        found: torch.device = model.device
        return found
    [name] = working(model.hf_device_map.values())
    return torch.empty(0, device=int(name) if name.isdigit() else name).device


def check_placed(model: Any) -> None:
    """Refuse a loaded model that computes on several devices, or whose weights are nowhere.

    Raises:
        ModelError: It does.
    """
    placed = getattr(model, "hf_device_map", None) or {}
    # The map says "0" or "cuda" where a tensor says "cuda:0", so the two are looked at apart.
    check_one_device(placed.values())
    there = {str(tensor.device) for tensor in (*model.parameters(), *model.buffers())}
    if "meta" in there and not set(map(str, placed.values())) & set(RESTING):
        raise ModelError("parts of the model have no weights", hint="load it without a device map")
    if rests := sorted(set(map(str, placed.values())) & set(RESTING) - set(working(placed.values()))):
        _log.warning("parts of the model rest on %s and are fetched at every step, which is slow", ", ".join(rests))
    check_one_device(there - {"meta"})
