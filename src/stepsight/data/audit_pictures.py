"""The pictures of a dataset looked at for an audit: what is wrong with them, and which look alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from stepsight.data.audit_report import Benchmark
from stepsight.data.likeness import Fingerprint, Lookalikes, fingerprint, groups_of, members
from stepsight.data.row_pictures import BadPicture, PictureFault, fault_of, place_of
from stepsight.errors import InputError, PictureError
from stepsight.pictures import load_picture
from stepsight.pictures_of_tsv import TsvRow, decode_picture, scan_tsv

_BATCH = 1024


@dataclass(frozen=True)
class Looked:
    """The pictures of a dataset by name: those that cannot be used, and the fingerprints of the others."""

    bad: dict[str, BadPicture]
    prints: dict[str, Fingerprint]


def look_at(images: Path, names: Sequence[str], *, workers: int, progress: Callable[[int], None]) -> Looked:
    """Decode every picture once; threads share the work, as decoding lets go of Python's lock."""
    bad: dict[str, BadPicture] = {}
    prints: dict[str, Fingerprint] = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for number, (name, seen) in enumerate(zip(names, pool.map(lambda one: _look(images, one), names), strict=True)):
            if isinstance(seen, BadPicture):
                bad[name] = seen
            elif seen is not None:
                prints[name] = seen
            progress(number + 1)
    return Looked(bad, prints)


def _look(images: Path, name: str) -> Fingerprint | BadPicture | None:
    path = place_of(images, name)
    if isinstance(path, BadPicture):
        return path
    try:
        return fingerprint(load_picture(path))
    except PictureError as error:
        return fault_of(images, name) or BadPicture(PictureFault.BROKEN, str(error))


def twins_of(prints: dict[str, Fingerprint]) -> list[list[str]]:
    """Groups of names whose pictures look alike; names that stand alone are left out."""
    names = list(prints)
    groups = groups_of(len(names), Lookalikes(list(prints.values())).pairs())
    return [[names[place] for place in places] for places in members(groups)]


Key = TypeVar("Key")


def alike(prints: dict[str, Fingerprint], shown: Iterable[tuple[Key, Fingerprint]]) -> Iterator[tuple[str, Key]]:
    """Each pair of a name here and a key there whose pictures look alike; `shown` is read in batches."""
    names, index = list(prints), Lookalikes(list(prints.values()))
    waiting = iter(shown)
    while batch := list(islice(waiting, _BATCH)):
        for place, other in index.like([one for _, one in batch]):
            yield names[place], batch[other][0]


def against(prints: dict[str, Fingerprint], path: Path) -> tuple[Benchmark, dict[str, str]]:
    """A benchmark file, and for each name whose picture is in it, the index of the first row that has it.

    Raises:
        InputError: the file is none of the kind.
    """
    unread: list[str] = []
    count = 0

    def shown() -> Iterator[tuple[str, Fingerprint]]:
        nonlocal count
        for row, one in _pictures(path, unread):
            count += 1
            if one is not None:
                yield row, one

    found: dict[str, str] = {}
    for name, row in alike(prints, shown()):
        found.setdefault(name, row)
    return Benchmark(name=path.name, pictures=count, unread=tuple(unread)), found


def _pictures(path: Path, unread: list[str]) -> Iterator[tuple[str, Fingerprint | None]]:
    for row in scan_tsv(path):
        if not isinstance(row, TsvRow):
            unread.append(str(row))
            continue
        if row.names:
            raise InputError(f"{path} names its pictures and does not hold them", hint="give one with a column image")
        for data in row.pictures:
            try:
                yield row.index, fingerprint(decode_picture(data, f"{path}, row {row.line}"))
            except PictureError as error:
                unread.append(str(error))
