"""What torch sees of the machine and what a model's configuration says of the model; no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from stepsight.engines.placement import Placement
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.lean import LeanLlama
from stepsight.engines.transformers.loading import load_config
from stepsight.engines.transformers.placing import find_device, find_dtype, saved_dtype
from stepsight.engines.transformers.products import can_pack
from stepsight.errors import ModelError
from stepsight.findings import Accelerator, Chosen, Memory, Shape, Torch

_BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
"""Bytes of a quantised weight; in 4 bits 64 weights share a scale of 4 bytes."""


def look_at_torch(threads: int | None = None) -> Torch:
    """The accelerators that torch can use, or why there is none; `threads` stands for torch's own number."""
    threads = threads or torch.get_num_threads()
    if not torch.accelerator.is_available():
        return Torch(threads=threads, why_none=_why_none())
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    module = torch.get_device_module(kind)
    accelerators = []
    for index in range(torch.accelerator.device_count()):
        name = module.get_device_name(index) if hasattr(module, "get_device_name") else kind.type
        accelerators.append(
            Accelerator(
                device=f"{kind.type}:{index}", name=str(name), memory=_memory_of(torch.device(kind.type, index))
            )
        )
    return Torch(threads=threads, accelerators=tuple(accelerators))


def shape_of(source: str | Path, placement: Placement, *, revision: str | None, trust_remote_code: bool) -> Shape:
    """Family, choices and sizes of a model, from its configuration.

    A family that the engine refuses is a finding, not an error.

    Raises:
        ModelError: There is no configuration, or the device or dtype asked for does not exist.
    """
    config = load_config(source, revision=revision, trust_remote_code=trust_remote_code)
    text, vision = getattr(config, "text_config", None), getattr(config, "vision_config", None)
    reason = instead = ""
    family: Any = None
    try:
        family = family_of(config)
    except ModelError as error:
        reason, instead = str(error.args[0]), error.hint
    where = _device(placement)
    dtype, chosen = _dtype(placement, config)
    model = _without_weights(config, trust_remote_code=trust_remote_code)
    counted = None if model is None else _count(model)
    quantised = getattr(config, "quantization_config", None) is not None
    weights = None
    if counted is not None and not quantised:
        linear, others = counted
        weights = int(linear * _BYTES.get(placement.quantize, dtype.itemsize) + others * dtype.itemsize)
    packed = packed_from = None
    if family is not None and model is not None and weights is not None and where.value == "cpu":
        sdpa = placement.attention in ("auto", "sdpa") and placement.quantize == "none"
        language = getattr(model.model, family.language_name).to(dtype)
        if sdpa and can_pack(torch.zeros(1)) and LeanLlama.can_be(language):
            packed, packed_from = _packed(language, model.get_output_embeddings())
    token = None
    if family is not None:
        token = family.shape_of(text, dtype=dtype, device=torch.device("meta")).token_bytes
    return Shape(
        family=str(config.model_type),
        language=str(getattr(text, "model_type", "unknown")),
        vision=str(getattr(vision, "model_type", "unknown")),
        proven=not reason,
        reason=reason,
        instead=instead,
        device=where,
        dtype=chosen,
        attention=Chosen(
            value="sdpa" if placement.attention == "auto" else placement.attention,
            why="torch's fused attention" if placement.attention == "auto" else "asked for",
        ),
        quantize=Chosen(
            value=placement.quantize,
            why="the checkpoint is quantised itself"
            if quantised
            else "asked for"
            if placement.quantize != "none"
            else "",
        ),
        parameters=None if counted is None else sum(counted),
        weights=weights,
        context=getattr(text, "max_position_embeddings", None),
        token=token,
        packed=packed,
        packed_from=packed_from,
    )


def _device(placement: Placement) -> Chosen:
    if placement.device_map is not None:
        return Chosen(
            value="as mapped", why=f"the device map {placement.device_map}; one device must do all the computing"
        )
    value = str(find_device(placement.device))
    if placement.device != "auto":
        return Chosen(value=value, why="asked for")
    return Chosen(value=value, why=_why_none() if value == "cpu" else "the first accelerator")


def _dtype(placement: Placement, config: Any) -> tuple[torch.dtype, Chosen]:
    if placement.dtype != "auto":
        dtype, why = find_dtype(placement.dtype), "asked for"
    elif (saved := saved_dtype(config)) is not None:
        dtype, why = saved, "the checkpoint was saved in it"
    else:
        dtype, why = torch.float32, "the checkpoint names none; its first tensor decides"
    return dtype, Chosen(value=str(dtype).removeprefix("torch."), why=why)


def _without_weights(config: Any, *, trust_remote_code: bool) -> Any:
    """The model as its configuration says; None where it cannot be built without weights."""
    from transformers import AutoModelForImageTextToText

    try:
        with torch.device("meta"):
            return cast(Any, AutoModelForImageTextToText).from_config(config, trust_remote_code=trust_remote_code)
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, ImportError, NotImplementedError):
        # What a model's own code does when it is built is out of our hands; sizes then stay unknown.
        return None


def _count(model: Any) -> tuple[int, int]:
    """Parameters that quantisation reaches, and the others."""
    head = model.get_output_embeddings()
    linear = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return linear, sum(parameter.numel() for parameter in model.parameters()) - linear


def _packed(language: Any, head: Any) -> tuple[int, int]:
    """Bytes of the copy that is laid out for the processor, and from how much free memory it is made; see `lean.py`."""
    inside = [module.weight for module in language.layers.modules() if isinstance(module, torch.nn.Linear)]
    copied = [*inside, head.weight] if type(head) is torch.nn.Linear and head.bias is None else inside
    size = torch.float32.itemsize
    held = sum(parameter.numel() for parameter in language.parameters()) + head.weight.numel()
    return size * sum(weight.numel() for weight in copied), 4 * size * held


def _why_none() -> str:
    version = str(torch.__version__)
    built = torch.version.cuda or torch.version.hip
    if built is None:
        return f"no accelerator: torch {version} is built for the CPU"
    return f"no accelerator: torch {version} is built for {built}, but no device shows (driver, CUDA_VISIBLE_DEVICES)"


def _memory_of(device: torch.device) -> Memory:
    try:
        free, total = torch.accelerator.get_memory_info(device)
    except (AttributeError, RuntimeError, NotImplementedError):
        return Memory()
    return Memory(total=total, free=free)
