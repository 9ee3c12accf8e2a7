"""Model folders: which one a name stands for, and what `stepsight.json` in it says of the model."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from stepsight.errors import InputError, ModelError
from stepsight.prompts.judge import judge_prompts
from stepsight.records import Record
from stepsight.training.checkpoints import is_part

PICO = "pico"
"""The name of the shipped model."""
CARD = "stepsight.json"
"""What a model folder may say about itself."""
DELTA = "delta.safetensors"
"""Weights that differ from those of a base."""

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


class ModelCard(Record):
    """`stepsight.json` in a model folder: how the model wants to be used.

    name: what to call it. judge_prompts: the version of judging texts it understands. world_only: it knows the drawn
    world and nothing else. note: a sentence for whoever uses it. cutoffs: by judge, which score of a reasoning is good
    enough for `swires` (see `stepsight calibrate`). reward: the folder, as seen from this one, of the reward model for
    this model's answers.

    Of a reward model: base: the folder, as seen from this one, of the model that it is a changed copy of; here are only
    the weights that differ, in `delta.safetensors`. words: what it goes on with behind a stage that is right, or wrong.
    gather: what its values mean (see `judges.reward.RewardJudge`).
    """

    name: str = ""
    judge_prompts: str = "paper-1"
    world_only: bool = False
    note: str = ""
    cutoffs: dict[str, float] = Field(default_factory=dict)
    reward: str = ""
    base: str = ""
    words: tuple[str, str] | None = None
    gather: Literal["last", "product"] = "product"


def resolve_model(name: str) -> str:
    """The folder or hub id that `name` stands for, checked as far as possible without loading.

    Raises:
        ModelError: it can be neither, or the folder holds no model.
    """
    if name == PICO:
        folder = Path(str(files("stepsight") / "pico"))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif Path(name).exists():
        raise ModelError(f"{name} is a file, not a model", hint="give the folder that holds config.json")
    elif _HUB_ID.fullmatch(name):
        return name
    else:
        raise ModelError(
            f"there is no model folder {name!r}", hint=f"give a folder, a hub id such as owner/model, or {PICO}"
        )
    if is_part(folder):
        raise ModelError(
            f"the weights in {folder} are no whole model", hint=f"stepsight export --model {folder} --out NEW makes one"
        )
    if not any((folder / name).is_file() for name in ("config.json", DELTA)):
        raise ModelError(f"{folder} holds no config.json", hint="give the folder of a saved transformers model")
    return str(folder)


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder; the default one where there is no `stepsight.json`.

    Raises:
        ModelError: the card is malformed.
    """
    path = folder / CARD
    if not path.is_file():
        return ModelCard(name=folder.name)
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
        judge_prompts(card.judge_prompts)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ModelError(f"{path}: {where}: {fault['msg']}", hint="see ModelCard for its keys") from error
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
    return card if card.name else card.model_copy(update={"name": folder.name})


class Origin(Record):
    """Where a model's weights come from: so that a score can say which model it is of.

    revision: the commit of a hub model. weights: SHA-256 over the names and the SHA-256 of all files of weights, of a
    changed copy those of its base too; both empty where nobody can know, as behind a server. files: how many there are.
    """

    source: str
    revision: str = ""
    weights: str = ""
    files: int = 0


_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_BLOB = re.compile(r"[0-9a-f]{64}")


def origin_of(source: str, revision: str | None = None) -> Origin:
    """The origin of a model that is loaded: a folder, or a hub id whose files lie in the hub's cache.

    Reading the weights takes as long as reading their files; in the hub's cache large files have their hash as a name.
    """
    if Path(source).is_dir():
        folder, commit = Path(source), ""
    else:
        from stepsight.engines.transformers.cached import cached_folder

        found = cached_folder(source, revision)
        if found is None:
            return Origin(source=source, revision=revision or "")
        folder, commit = found, found.name
    paths = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS)
    base = read_card(folder).base
    paths += sorted(path for path in (folder / base).iterdir() if path.suffix in _WEIGHTS) if base else []
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return Origin(
        source=PICO if source == resolve_model(PICO) else source,
        revision=commit,
        weights=digest.hexdigest() if paths else "",
        files=len(paths),
    )


def _sha256(path: Path) -> str:
    blob = path.resolve().name
    if path.is_symlink() and _BLOB.fullmatch(blob):
        return blob
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
