"""Where the picture of a row is, and what is wrong with it.

Of the public LLaVA-CoT-100k two pictures are missing and 377 are files of zero bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from stepsight.errors import InputError, PictureError
from stepsight.pictures import check_picture, load_picture


class PictureFault(StrEnum):
    """What can be wrong with a row's picture."""

    MISSING = "picture_missing"
    EMPTY = "picture_empty"
    BROKEN = "picture_broken"
    OUTSIDE = "picture_outside"


@dataclass(frozen=True)
class BadPicture:
    """A picture that cannot be used; `detail` says it in a sentence."""

    kind: PictureFault
    detail: str


def check_folder_of_pictures(images: Path) -> None:
    """Make sure that there is a folder of pictures.

    Raises:
        InputError: there is none, or it holds the public archive in its parts.
    """
    if not images.is_dir():
        raise InputError(f"{images} is no folder", hint="give the folder that the rows' `image` paths start from")
    parts = sorted(images.glob("image.zip.part-*"))
    if parts and not any(entry.is_dir() for entry in images.iterdir()):
        raise InputError(
            f"{images} holds the pictures as {len(parts)} parts of an archive",
            hint="join and unpack them first: cat image.zip.part-* > image.zip && unzip image.zip",
        )


def place_of(images: Path, name: str) -> Path | BadPicture:
    """The path of a row's picture; names that lead out of `images` are refused."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return BadPicture(PictureFault.OUTSIDE, f"{name} leads out of the folder of pictures")
    return images / name


def fault_of(images: Path, name: str) -> BadPicture | None:
    """What is wrong with a row's picture, as its header shows it."""
    found = size_of(images, name)
    return found if isinstance(found, BadPicture) else None


def size_of(
    images: Path, name: str, *, data: bytes | None = None, decode: bool = False
) -> tuple[int, int] | BadPicture:
    """Width and height of a row's picture, in pixels, or what is wrong with it.

    Its header alone is read, or, with `decode`, all of it; `data` are its bytes if they are at hand.
    """
    path = place_of(images, name) if data is None else Path(name)
    if isinstance(path, BadPicture):
        return path
    try:
        if decode:
            return load_picture(path, data=data).size
        return check_picture(path, data=data)
    except PictureError as error:
        if data is not None:
            return BadPicture(PictureFault.BROKEN if data else PictureFault.EMPTY, f"{error}")
        return BadPicture(_kind(path), f"{error}")


def _kind(path: Path) -> PictureFault:
    try:
        return PictureFault.BROKEN if path.stat().st_size else PictureFault.EMPTY
    except OSError:
        return PictureFault.MISSING
