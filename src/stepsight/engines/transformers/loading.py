"""From a folder or a hub id to a model and its processor, with one clear line for each thing that can be wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError

from stepsight.engines.transformers.families import family_of
from stepsight.errors import ModelError

_CONFIG = "config.json"
_PROCESSOR = ("processor_config.json", "preprocessor_config.json")
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_TEMPLATE = ("chat_template.jinja", "chat_template.json")
_WEIGHTS = ("*.safetensors", "*.bin")


def load_model(
    model: str | Path, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[Any, Any]:
    """Load a model, ready to run, and its processor.

    Args:
        model: A folder, or a hub id such as `org/name`.
        device: A torch device, or "auto" for the first accelerator, else the CPU.
        dtype: The name of a torch dtype, or "auto" for the one that the checkpoint was saved in.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether code in the checkpoint may run.

    Raises:
        ModelError: Nothing usable is there; the message says what is missing.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    name = str(model)
    folder = _folder(model)
    if folder is not None:
        _check_folder(folder)
    where = _device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise _explained(name, folder, error) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping and not trust_remote_code:
        raise ModelError(
            f"{name} is not an image-text model: its type is '{config.model_type}'",
            hint="use a checkpoint that takes pictures, such as HuggingFaceTB/SmolVLM-256M-Instruct",
        )
    family_of(config)
    try:
        processor = cast(Any, AutoProcessor).from_pretrained(name, **options)
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the processor of {name} does not load: {_first_line(error)}") from error
    check_processor(name, processor)
    try:
        with _without_bars():
            loaded, info = cast(Any, AutoModelForImageTextToText).from_pretrained(
                name,
                dtype=dtype if dtype == "auto" else _dtype(dtype),
                attn_implementation="sdpa",
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the weights of {name} do not load: {_first_line(error)}") from error
    if missing := sorted(info["missing_keys"]):
        # The library fills gaps with random numbers and goes on.
        raise ModelError(f"the weights of {name} lack {len(missing)} tensors, such as {missing[0]}")
    return loaded.to(where).eval(), processor


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the library's progress bars off the caller's terminal; a download keeps the hub's own."""
    from transformers.utils import logging as library

    logging = cast(Any, library)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_processor(name: str, processor: Any) -> None:
    """Check that a processor handles pictures and chats.

    Raises:
        ModelError: It does not.
    """
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(
            f"{name} has no processor for pictures and text",
            hint=f"the checkpoint needs {' or '.join(_PROCESSOR)} and a tokenizer",
        )
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise ModelError(f"{name} has no chat template", hint=f"add {_TEMPLATE[0]} to the checkpoint")


def _folder(model: str | Path) -> Path | None:
    """The folder meant, or None for a hub id."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    text = str(model)
    looks_like_path = isinstance(model, Path) or text.startswith((".", "~", os.sep)) or text.count("/") != 1
    if looks_like_path or path.exists():
        raise ModelError(f"no such folder: {path}", hint="give a folder with a saved model, or a hub id 'org/name'")
    return None


def _check_folder(folder: Path) -> None:
    def some(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    if not some(_CONFIG):
        raise ModelError(f"{folder} holds no model: {_CONFIG} is missing")
    if not some(*_PROCESSOR):
        raise ModelError(f"{folder} has no processor: {' or '.join(_PROCESSOR)} is missing")
    if not some(*_TOKENIZER):
        raise ModelError(f"{folder} has no tokenizer: {' or '.join(_TOKENIZER)} is missing")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelError(f"{folder} has no weights: {' or '.join(_WEIGHTS)} is missing")


def _explained(name: str, folder: Path | None, error: Exception) -> ModelError:
    if folder is not None:
        return ModelError(f"{folder / _CONFIG} does not load: {_first_line(error)}")
    return ModelError(
        f"{name} is neither a folder here nor a model the hub gives us: {_first_line(error)}",
        hint="check the id and the network, or download the model and give its folder",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _device(device: str) -> torch.device:
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device '{device}' cannot be used: {_first_line(error)}") from error


def _dtype(dtype: str) -> torch.dtype:
    found = getattr(torch, dtype, None)
    if not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ModelError(f"no dtype '{dtype}'", hint="such as 'float32' or 'bfloat16'")
    return found
