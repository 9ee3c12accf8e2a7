"""What a dataset was made of, in a file beside it: `manifest.json`.

made_by     the verb: `build`, `import`, `select`
teacher     the engine that wrote the answers, where one was asked
recipe      SHA-256 of the resolved recipe; empty where there was none
prompts     names of the texts that were sent, with the SHA-256 of each
rows, turns what the dataset holds
sources     rows by source
set_aside   what was not taken, by reason: questions by filter, rows by what is wrong with them or their pictures
outcomes    of a build: source -> how many of its questions were kept, rejected (by reason), failed or are open;
            of a selection: family -> how many answers were kept, or left out (by reason)
files       name in the folder -> bytes and SHA-256
versions    of stepsight, Python and what matters beside them
cost        tokens and money, where a teacher was paid
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field, ValidationError

from stepsight.errors import InputError, RecordError
from stepsight.files import whole_file
from stepsight.records import Record

MANIFEST = "manifest.json"
_PACKAGES = ("stepsight", "pillow", "pydantic", "pyarrow")
_CHUNK = 1 << 20


class FileState(Record):
    """How large a file is, and the SHA-256 of its bytes."""

    bytes: int
    sha256: str


class Cost(Record):
    """What the teacher was asked and paid; `dollars` is None where no prices are known."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = None


class Manifest(Record):
    """What a dataset was made of; see the head of this file."""

    made_by: str
    teacher: str = ""
    recipe: str = ""
    prompts: Mapping[str, str] = Field(default_factory=dict)
    rows: int
    turns: int
    sources: Mapping[str, int] = Field(default_factory=dict)
    set_aside: Mapping[str, int] = Field(default_factory=dict)
    outcomes: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    files: Mapping[str, FileState] = Field(default_factory=dict)
    versions: Mapping[str, str] = Field(default_factory=dict)
    cost: Cost | None = None


def text_hash(text: str) -> str:
    """The SHA-256 of a recipe or a prompt, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def state_of(path: Path) -> FileState:
    """The size and hash of a file, read in pieces.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check the dataset's folder") from error
    return FileState(bytes=size, sha256=digest.hexdigest())


def states_of(folder: Path, names: Iterable[str]) -> dict[str, FileState]:
    """The states of files in a folder, by name."""
    return {name: state_of(folder / name) for name in names}


def versions() -> dict[str, str]:
    """Versions of stepsight, Python and the packages that the data pass through; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write `manifest.json`, indented for people; it appears whole or not at all."""
    path = folder / MANIFEST
    with whole_file(path) as stream:
        stream.write(json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a dataset's folder; None if there is none.

    Raises:
        RecordError: it is no manifest.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise RecordError(
            f"{path} is no manifest: {where}: {fault['msg']}", hint="build or import the dataset again, or delete it"
        ) from error


def check_manifest(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """What no longer is as the manifest says, a sentence for each file: it is gone, or has other bytes."""
    faults = []
    for name, stated in manifest.files.items():
        if not (folder / name).is_file():
            faults.append(f"{name} is gone")
            continue
        found = state_of(folder / name)
        if found != stated:
            faults.append(f"{name} is not the file that was written: {found.bytes:,} bytes, then {stated.bytes:,}")
    return tuple(faults)
