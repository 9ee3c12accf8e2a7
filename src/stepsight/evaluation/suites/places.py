"""Where benchmark files lie, and whether they are the published ones.

A file is `<data set>.tsv` in the folder that the environment variable `LMUData` names, or else in `LMUData` in the home
folder, as VLMEvalKit has it. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from stepsight.errors import InputError
from stepsight.records import Record

VARIABLE = "LMUData"


class DataFile(Record):
    """A benchmark file. `expected` is the MD5 of the published one, empty where none is published."""

    path: Path
    md5: str
    expected: str
    size: int

    @property
    def published(self) -> bool | None:
        """Whether it is the published file, byte for byte; None where there is none to compare with."""
        return None if not self.expected else self.md5 == self.expected


def data_folder(root: Path | None = None) -> Path:
    """The folder of benchmark files: `root`, or what the environment says, or `~/LMUData`."""
    if root is not None:
        return root
    named = os.environ.get(VARIABLE)
    # A folder that does not exist is passed over, as there.
    return Path(named) if named and Path(named).exists() else Path.home() / "LMUData"


def name_there(name: str, root: Path | None = None) -> str:
    """The name of a file in the folder of benchmark files, in its own case of letters; `name` if it is of none."""
    folder = data_folder(root)
    there = {path.stem.removesuffix("_local"): path for path in sorted(folder.glob("*.tsv"))}
    alike = [one for one in there if one.lower() == name.lower()]
    return alike[0] if name not in there and len(alike) == 1 else name


def find_file(name: str, *, root: Path | None = None, expected: str = "", url: str = "") -> DataFile:
    """The file of the data set `name`; a file `<name>_local.tsv`, whose pictures lie beside it, does as well.

    Raises:
        InputError: there is none; the hint says where people get it.
    """
    folder = data_folder(root)
    paths = [folder / f"{name}.tsv", folder / f"{name}_local.tsv"]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(f"there is no file {paths[0]}", hint=_where_to_get(name, folder, root, url))
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    # A file with its pictures beside it was made on the spot, so no sum is published for it.
    known = expected if path == paths[0] else ""
    return DataFile(path=path, md5=digest.hexdigest(), expected=known, size=path.stat().st_size)


def _where_to_get(name: str, folder: Path, root: Path | None, url: str) -> str:
    how = f"download {url} to {folder}/" if url else f"put {name}.tsv into {folder}/"
    named = os.environ.get(VARIABLE)
    if root is None and named and not Path(named).exists():
        how += f"; {VARIABLE} names {named}, which does not exist"
    elif root is None:
        how += f", or name its folder in the environment variable {VARIABLE}"
    return how
