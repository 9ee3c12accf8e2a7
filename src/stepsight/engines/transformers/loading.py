"""From a folder or a hub id to a model and its processor, with one clear line for each thing that can be wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError

from stepsight.engines.placement import Placement
from stepsight.engines.transformers.deltas import apply_delta
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.placing import (
    check_placed,
    check_placement,
    device_map_of,
    find_device,
    find_dtype,
    quantisation,
)
from stepsight.engines.transformers.thread import OneThread
from stepsight.errors import ModelError

_CONFIG = "config.json"
_PROCESSOR = ("processor_config.json", "preprocessor_config.json")
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_TEMPLATE = ("chat_template.jinja", "chat_template.json")
_WEIGHTS = ("*.safetensors", "*.bin")


def load_in_thread(
    source: str | Path,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
    delta: Path | None = None,
    thread: OneThread | None = None,
) -> tuple[OneThread, Any, Any]:
    """`load_model` in the thread that is to run the model (see `thread.py`), which comes first; `thread` is one in use.

    Raises:
        ModelError, MissingExtraError: As `load_model`; a thread of its own has ended then.
    """
    thread = OneThread("stepsight-transformers") if thread is None else thread.shared()
    try:
        model, processor = thread.call(
            lambda: load_model(source, placement, revision=revision, trust_remote_code=trust_remote_code, delta=delta)
        )
    except BaseException:
        thread.end()
        raise
    return thread, model, processor


def load_model(
    model: str | Path,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
    delta: Path | None = None,
) -> tuple[Any, Any]:
    """Load a model, ready to run, and its processor.

    Args:
        model: A folder, or a hub id such as `org/name`.
        placement: Where it goes and in what form.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether code in the checkpoint may run.
        delta: Weights to put over those of the model (see `deltas.py`).

    Raises:
        ModelError: Nothing usable is there; the message says what is missing.
        MissingExtraError: A package that the placement needs is not installed.
    """
    from transformers import AutoModelForImageTextToText

    name = str(model)
    check_placement(placement)
    where = find_device(placement.device)
    dtype = placement.dtype if placement.dtype == "auto" else find_dtype(placement.dtype)
    config = load_config(model, revision=revision, trust_remote_code=trust_remote_code)
    family_of(config)
    device_map = device_map_of(placement, config)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    if device_map is not None:
        options["device_map"] = device_map
    if (quantised := quantisation(placement, config)) is not None:
        options["quantization_config"] = quantised
    processor = load_processor(model, revision=revision, trust_remote_code=trust_remote_code)
    try:
        with _without_bars():
            loaded, info = cast(Any, AutoModelForImageTextToText).from_pretrained(
                name,
                dtype=dtype,
                attn_implementation="sdpa" if placement.attention == "auto" else placement.attention,
                output_loading_info=True,
                **options,
            )
            if device_map is None:
                loaded = loaded.to(where)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(f"the weights of {name} do not load: {_first_line(error)}") from error
    if missing := sorted(info["missing_keys"]):
        # The library fills gaps with random numbers and goes on.
        raise ModelError(f"the weights of {name} lack {len(missing)} tensors, such as {missing[0]}")
    check_placed(loaded)
    if delta is not None:
        apply_delta(loaded, delta)
    return loaded.eval(), processor


def load_config(model: str | Path, *, revision: str | None, trust_remote_code: bool) -> Any:
    """The configuration of an image-text model; its family is not looked at.

    Raises:
        ModelError: There is none, or it is that of another kind of model.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    name = str(model)
    folder = _folder(model)
    if folder is not None:
        _check_folder(folder)
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise _explained(name, folder, error) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping and not trust_remote_code:
        raise ModelError(
            f"{name} is not an image-text model: its type is '{config.model_type}'",
            hint="use a checkpoint that takes pictures, such as HuggingFaceTB/SmolVLM-256M-Instruct",
        )
    return config


def load_processor(model: str | Path, *, revision: str | None, trust_remote_code: bool) -> Any:
    """The processor of a model, checked for pictures and chats.

    Raises:
        ModelError: It does not load, or lacks a part.
    """
    from transformers import AutoProcessor

    name = str(model)
    try:
        processor = cast(Any, AutoProcessor).from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the processor of {name} does not load: {_first_line(error)}") from error
    check_processor(name, processor)
    return processor


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
