"""A benchmark file's rows as VLMEvalKit's loader has them, and their pictures.

    pass 1    every row but its pictures, which may weigh a hundred megabytes; what is wrong is said at once
    pass 2    the pictures of the rows that are asked, each as a file named by what is in it

Rows without a picture are dropped and counted. Source: vlmeval/dataset/image_base.py of open-compass/VLMEvalKit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from stepsight.errors import InputError, PictureError, RecordError
from stepsight.evaluation.scoring.cells import as_read, said
from stepsight.evaluation.suites.rules import Line
from stepsight.files import whole_file
from stepsight.pictures_of_tsv import TsvRow, decode_picture, scan_tsv


@dataclass(frozen=True)
class Table:
    """The rows that have pictures. `columns` are all names as the file has them, but `image`.

    `owners` names, by row, the row whose pictures it shows, where it is another. `without_image` rows were dropped.
    """

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    owners: Mapping[int, int]
    without_image: int


def read_table(path: Path) -> Table:
    """Read all rows of a benchmark file.

    Raises:
        InputError: the file cannot be read, is empty, names an index twice, or has rows that are broken.
    """
    rows, faults = [], []
    for row in scan_tsv(path):
        if isinstance(row, RecordError):
            faults.append(str(row))
        else:
            rows.append(TsvRow(row.line, row.index, row.cells, (b"",) if row.pictures else (), row.same_as, row.names))
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise InputError("; ".join(faults[:3]) + more, hint="download the file again")
    if not rows:
        raise InputError(f"{path} has no rows", hint="download the file again")
    columns = tuple(rows[0].cells)
    by_column = {lower(name): as_read([row.cells[name] for row in rows]) for name in columns}
    indices = [said(cell) for cell in by_column["index"]]
    if len(set(indices)) < len(indices):
        twice = next(index for index in indices if indices.count(index) > 1)
        raise InputError(f"{path} has the index {twice} more than once", hint="download the file again")
    places = {row.index: row.line for row in rows} | dict(zip(indices, (row.line for row in rows), strict=True))
    lines, owners = [], {}
    for place, (row, index) in enumerate(zip(rows, indices, strict=True)):
        if not (row.pictures or row.same_as or row.names):
            continue
        lines.append(Line(row.line, index, {name: cells[place] for name, cells in by_column.items()}))
        if not row.pictures and row.same_as:
            owners[row.line] = places[row.same_as]
    return Table(columns, tuple(lines), owners, len(rows) - len(lines))


def write_pictures(
    path: Path, lines: Sequence[Line], owners: Mapping[int, int], *, folder: Path, beside: Path
) -> dict[str, tuple[Path, ...]]:
    """The pictures of each line as files, by its index.

    Pictures are written as RGB PNG, as VLMEvalKit shows them: what is transparent has the colour that lies under it,
    and nothing is turned. A file that is there already is kept.

    Args:
        path: the benchmark file.
        lines: whose pictures are wanted.
        owners: as `Table` has them.
        folder: where files are written.
        beside: where the pictures lie that the file only names (`image_path`).

    Raises:
        InputError: a named picture is not there.
        PictureError: a picture cannot be decoded.
    """
    wanted = {owners.get(line.row, line.row) for line in lines}
    found = dict(_written(path, wanted, folder, beside))
    return {line.index: found[owners.get(line.row, line.row)] for line in lines}


def scan_pictures(
    path: Path, wanted: Collection[int], beside: Path
) -> Iterator[tuple[int, tuple[bytes, ...] | tuple[Path, ...]]]:
    """The pictures of the rows numbered `wanted` that have some of their own: encoded as in the file, or as files.

    Raises:
        InputError: the file cannot be read, or a picture that it names is not there.
        PictureError: the name of a picture leads out of its folder.
    """
    for row in scan_tsv(path):
        if isinstance(row, RecordError) or row.line not in wanted:
            continue
        yield row.line, row.pictures or tuple(_named(name, beside, path) for name in row.names)


def _written(path: Path, wanted: Collection[int], folder: Path, beside: Path) -> Iterator[tuple[int, tuple[Path, ...]]]:
    for line, pictures in scan_pictures(path, wanted, beside):
        where = f"{path}, row {line}"
        yield line, tuple(one if isinstance(one, Path) else _write(one, folder, where) for one in pictures)


def _write(data: bytes, folder: Path, where: str) -> Path:
    name = hashlib.sha256(data).hexdigest()[:32]
    target = folder / name[:2] / f"{name}.png"
    if not target.exists():
        picture = decode_picture(data, where)
        picture.info.clear()  # a see-through colour would be written with the picture, and be shown as white
        try:
            with whole_file(target) as stream:
                picture.save(stream, "PNG")
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}", hint="name another folder") from error
    return target


def _named(name: str, beside: Path, path: Path) -> Path:
    places = [Path(name), beside / name] if Path(name).is_absolute() else [beside / name]
    if ".." in Path(name).parts:
        raise PictureError(f"{path} names the picture {name}, which leads out of its folder")
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{path} names the picture {name}, and there is none at {places[-1]}", hint="unpack them there")


def lower(name: str) -> str:
    """The name of a column by which `Line` knows it: in small letters, but for single capitals, the options."""
    return name if name in ascii_uppercase else name.lower()
