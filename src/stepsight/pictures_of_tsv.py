"""Rows and pictures of benchmark files as VLMEvalKit keeps them: tab separated, pictures inside as base64.

The column `image` of a row holds one of

    base64 of a picture, perhaps behind `data:...;base64,`, perhaps in the URL-safe alphabet
    a list as text, `['...', '...']`: several pictures
    at most 64 characters: the `index` of another row, whose pictures are used again
    nothing: the row has no picture (VLMEvalKit drops such rows)

A file that was too large for its pictures has a column `image_path` instead: a name, or a list of names as text, of
pictures that lie beside it. Where both columns are, the names only say what to call the pictures.

Source: vlmeval/dataset/image_base.py of open-compass/VLMEvalKit. A row may refer to one further down; a reference to a
row that itself refers on is a fault, as there. Files are read row by row.
"""

from __future__ import annotations

import ast
import base64
import binascii
import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stepsight.errors import InputError, PictureError, RecordError
from stepsight.pictures import FORMATS, MAX_PIXELS

REFERENCE = 64
"""A text of at most so many characters is no picture but the index of another row."""
_FORM = "give a TSV file of VLMEvalKit's form"
_HEAD = re.compile(r"^data:[^,]{0,100};base64,")


@dataclass(frozen=True)
class TsvRow:
    """A row. `cells` holds all columns but `image`; `line` counts rows from 1, the head not counted.

    `pictures` holds encoded pictures, undecoded. Where it is empty, `same_as` may name the row whose pictures it uses.
    `names` are those of `image_path`, in a file without the column `image`.
    """

    line: int
    index: str
    cells: Mapping[str, str]
    pictures: tuple[bytes, ...] = ()
    same_as: str = ""
    names: tuple[str, ...] = ()


def scan_tsv(path: Path) -> Iterator[TsvRow | RecordError]:
    """Each row of a benchmark file in turn, or what is wrong with it; references that lead nowhere come last.

    Raises:
        InputError: the file cannot be read, or has no column `index`, or neither `image` nor `image_path`.
    """
    # The limit is the module's own, for the whole process; a picture in a cell exceeds its 128 KiB.
    csv.field_size_limit(min(sys.maxsize, 1 << 31 - 1))
    owners: set[str] = set()
    references: list[tuple[int, str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            columns = set(reader.fieldnames or ())
            for wanted in ({"index"}, {"image", "image_path"}):
                if not columns & wanted:
                    raise InputError(f"{path} has no column {min(wanted)}", hint=_FORM)
            for line, cells in enumerate(reader, start=1):
                row = _row(path, line, cells)
                if isinstance(row, TsvRow):
                    if row.pictures:
                        owners.add(row.index)
                    elif row.same_as:
                        references.append((line, row.same_as))
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", hint=_FORM) from error
    for line, index in references:
        if index not in owners:
            yield RecordError(f"{path}, row {line}: its image is that of row {index}, which has none of its own")


def decode_picture(data: bytes, where: str) -> Image.Image:
    """A picture of a benchmark file, RGB.

    Raises:
        PictureError: it cannot be decoded, or is too large; `where` is part of the message.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"{where}: {image.width} x {image.height} pixels are too many")
            return image.convert("RGB")
    except PictureError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # broken bytes make decoders raise almost anything
        raise PictureError(f"{where}: not a picture that can be read", hint="download the file again") from error


def _row(path: Path, line: int, cells: dict[str, str | None]) -> TsvRow | RecordError:
    where = f"{path}, row {line}"
    if None in cells or any(value is None for value in cells.values()):
        return RecordError(f"{where}: it has not as many cells as the head")
    known = {name: value for name, value in cells.items() if value is not None and name != "image"}
    image = (cells.get("image") or "").strip()
    index = known["index"].strip()
    if not index:
        return RecordError(f"{where}: it has no index")
    try:
        names = () if "image" in cells else _listed(known.get("image_path", "").strip())
    except (ValueError, SyntaxError, RecursionError) as error:
        return RecordError(f"{where}: its image_path is no list of names: {str(error)[:80]}")
    if len(image) <= REFERENCE and not image.startswith("["):
        return TsvRow(line, index, known, same_as=image, names=names)
    try:
        return TsvRow(line, index, known, tuple(_decoded(one) for one in _listed(image)), names=names)
    except (ValueError, SyntaxError, RecursionError) as error:
        return RecordError(f"{where}: its image is no base64: {str(error)[:80]}")


def _listed(text: str) -> tuple[str, ...]:
    """A list as text, or one text; nothing of nothing."""
    if not text.startswith("["):
        return (text,) if text else ()
    listed = ast.literal_eval(text)
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise ValueError("not a list of texts")
    return tuple(listed)


def _decoded(text: str) -> bytes:
    plain = "".join(_HEAD.sub("", text, count=1).split()).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
