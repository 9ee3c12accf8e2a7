"""Records to and from parquet: one record per row, columns named and nested as the records are.

    int, float, str, bool    int64, double, string, bool; None is null
    enum, literal, path      string
    tuple of X               list of X
    record                   struct, its fields in the order of the class
    mapping                  string that holds JSON: its keys differ from row to row

The columns derive from the record class, so whatever reads parquet can query them, and a field that is new in a record
is simply absent from older files. What is read back is the record that JSON lines would give. Compressed with zstd.
Needs the extra `data`. Integers beyond 64 bits are not covered.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from stepsight.errors import MissingExtraError, RecordError
from stepsight.files import whole_file

Row = TypeVar("Row", bound=BaseModel)

GROUP_ROWS = 1024
GROUP_BYTES = 32 << 20
"""A group of rows is written when it has so many, or so much JSON; memory holds one group at a time."""
READ_ROWS = 64
_LEVEL = 9
"""Of zstd: beyond it, files shrink by a hundredth and take several times as long to write."""


def write_parquet(path: Path, records: Iterable[Row], kind: type[Row]) -> int:
    """Write `records`, all of one `kind`, to `path` and return how many there were.

    The file appears whole or not at all; if `records` raises while being read, an older file at `path` stays as it was.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError: a number does not fit into 64 bits.
    """
    arrow, parquet = _arrow()
    schema = arrow.schema(
        [arrow.field(name, _column(arrow, field.annotation)) for name, field in kind.model_fields.items()]
    )
    count = 0
    with (
        whole_file(path) as stream,
        parquet.ParquetWriter(stream, schema, compression="zstd", compression_level=_LEVEL) as writer,
    ):
        for group in _groups(records):
            rows = [_packed(json.loads(line), kind) for line in group]
            try:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            except (OverflowError, arrow.ArrowInvalid) as error:
                raise RecordError(
                    f"rows {count + 1} to {count + len(rows)} do not fit into {path.name}: {error}",
                    hint="keep them as JSON lines",
                ) from error
            count += len(rows)
    return count


def scan_parquet(path: Path, kind: type[Row]) -> Iterator[Row | RecordError]:
    """Each row of `path` in turn: a `kind`, or, where it is none, what is wrong with it.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError: `path` cannot be read, is damaged, no parquet, or has other columns.
    """
    arrow, parquet = _arrow()
    number = 0
    try:
        with path.open("rb") as stream:
            file = parquet.ParquetFile(stream)
            _check_columns(path, file.schema_arrow.names, kind)
            for batch in file.iter_batches(batch_size=READ_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _read(path, number, row, kind)
    except OSError as error:
        # Arrow's own complaints of a damaged file are OSErrors too, without the name that the system gives an error.
        reason = error.strerror or (f"damaged at row {number + 1} or later" if number else "damaged, or no parquet")
        raise RecordError(f"{path} cannot be read: {reason}", hint="give a file that stepsight wrote") from error
    except arrow.ArrowException as error:
        what = f"damaged at row {number + 1} or later" if number else "no parquet file, or damaged"
        raise RecordError(f"{path} is {what}", hint="write it again with `stepsight convert`") from error


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    return pyarrow, pyarrow.parquet


def _groups(records: Iterable[BaseModel]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for record in records:
        group.append(record.model_dump_json())
        size += len(group[-1])
        if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _check_columns(path: Path, names: list[str], kind: type[BaseModel]) -> None:
    missing = [name for name, field in kind.model_fields.items() if field.is_required() and name not in names]
    foreign = [name for name in names if name not in kind.model_fields]
    if missing or foreign:
        what = f"has no column {missing[0]}" if missing else f"has a column {foreign[0]}, which is not of one"
        raise RecordError(f"{path} holds no {kind.__name__}s: it {what}", hint="give a file that stepsight wrote")


def _read(path: Path, number: int, row: dict[str, Any], kind: type[Row]) -> Row | RecordError:
    try:
        return kind.model_validate(_unpacked(row, kind))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        return RecordError(f"{path}, row {number}: not a {kind.__name__}: {where}: {fault['msg']}")
    except ValueError as error:
        return RecordError(f"{path}, row {number}: not a {kind.__name__}: {error}")


def _bare(annotation: Any) -> Any:
    """The type without `| None`: every column may hold null."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation,) = (one for one in typing.get_args(annotation) if one is not type(None))
    return annotation


def _is(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _column(arrow: Any, annotation: Any) -> Any:
    """The arrow type of a field."""
    bare = _bare(annotation)
    origin = typing.get_origin(bare)
    if origin is tuple:
        return arrow.list_(_column(arrow, typing.get_args(bare)[0]))
    if _is(bare, BaseModel):
        fields = bare.model_fields.items()
        return arrow.struct([arrow.field(name, _column(arrow, field.annotation)) for name, field in fields])
    if origin is Literal or _is(origin, Mapping) or _is(bare, Enum) or _is(bare, Path):
        return arrow.string()
    return {int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_(), str: arrow.string()}[bare]


def _packed(value: Any, annotation: Any) -> Any:
    """A value out of a record's JSON as its column holds it."""
    bare = _bare(annotation)
    if value is None:
        return None
    if typing.get_origin(bare) is tuple:
        return [_packed(one, typing.get_args(bare)[0]) for one in value]
    if _is(bare, BaseModel):
        return {name: _packed(value.get(name), field.annotation) for name, field in bare.model_fields.items()}
    if _is(typing.get_origin(bare), Mapping):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return float(value) if bare is float else value  # "NaN" and the infinities are strings in JSON


def _unpacked(value: Any, annotation: Any) -> Any:
    """The reverse: what the record class reads."""
    bare = _bare(annotation)
    if value is None:
        return None
    if typing.get_origin(bare) is tuple:
        return [_unpacked(one, typing.get_args(bare)[0]) for one in value]
    if _is(bare, BaseModel):
        fields = bare.model_fields
        return {name: _unpacked(one, fields[name].annotation) if name in fields else one for name, one in value.items()}
    if _is(typing.get_origin(bare), Mapping):
        return json.loads(value)
    return value
