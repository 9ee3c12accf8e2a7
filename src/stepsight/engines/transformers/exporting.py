"""A model folder in the layout that servers read.

transformers names the weights of LLaVA's vision tower `vision_tower.*` since its version 5; vLLM and older readers
expect `vision_tower.vision_model.*`, as checkpoints were written before. transformers itself reads both.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stepsight.errors import InputError, ModelError
from stepsight.files import whole_file

_NEW, _OLD = "vision_tower.", "vision_tower.vision_model."
_INDEX = "model.safetensors.index.json"
_CONFIG = "config.json"


def export_for_servers(folder: Path, out: Path) -> int:
    """Write a copy of the model in `folder` to `out`, its weights named as servers expect them.

    All files are copied; safetensors and their index are rewritten where names change. The configuration comes last:
    a folder without one is not whole.

    Returns:
        How many weights were renamed; 0 for families whose names have not changed.

    Raises:
        InputError: `out` is not empty, or is the folder itself.
        ModelError: The folder holds no model, or its weights cannot be read.
    """
    if not (folder / _CONFIG).is_file():
        raise ModelError(f"{folder} holds no model: {_CONFIG} is missing")
    if out.resolve() == folder.resolve() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} is not empty", hint="give a new folder")
    renames = json.loads((folder / _CONFIG).read_text(encoding="utf-8")).get("model_type") == "llava"
    out.mkdir(parents=True, exist_ok=True)
    renamed = 0
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _CONFIG)
    for path in files:
        if renames and path.suffix == ".safetensors":
            renamed += _rewrite(path, out / path.name)
        elif renames and path.name == _INDEX:
            index = json.loads(path.read_text(encoding="utf-8"))
            index["weight_map"] = {_renamed(name): file for name, file in index["weight_map"].items()}
            with whole_file(out / path.name) as stream:
                stream.write(json.dumps(index, indent=2).encode())
        else:
            shutil.copyfile(path, out / path.name)
    shutil.copyfile(folder / _CONFIG, out / _CONFIG)
    return renamed


def _rewrite(path: Path, target: Path) -> int:
    try:
        with safe_open(path, framework="pt") as held:
            tensors = {_renamed(name): held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
            changed = len([name for name in held.keys() if _renamed(name) != name])  # noqa: SIM118 - the same
            metadata = held.metadata()
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    save_file(tensors, target, metadata=metadata)
    return changed


def _renamed(name: str) -> str:
    if name.startswith(_NEW) and not name.startswith(_OLD):
        return _OLD + name.removeprefix(_NEW)
    return name
