"""Files of traces: JSON lines, or parquet where the name ends in `.parquet`.

scan_traces   each row in turn, the malformed as errors
sift_traces   malformed rows are set aside, each with its reason
read_traces   every row must be well-formed; the first that is not raises
write_traces  whole or not at all
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stepsight.errors import InputError, RecordError
from stepsight.jsonl import Sifted, scan_jsonl, write_jsonl
from stepsight.parquet import scan_parquet, write_parquet
from stepsight.records import Trace

TRACES = "traces.jsonl"
PARQUET = ".parquet"


def trace_file(path: Path, *, hint: str = "make one with `stepsight eval --out FOLDER`") -> Path:
    """The file of traces that `path` is, or has in it: `traces.jsonl`, or else `traces.parquet`.

    Raises:
        InputError: there is none; the hint says how to make one.
    """
    if path.is_dir():
        packed = (path / TRACES).with_suffix(PARQUET)
        path = packed if packed.is_file() and not (path / TRACES).is_file() else path / TRACES
    if not path.is_file():
        raise InputError(f"there is no file {path}", hint=hint)
    return path


def scan_traces(path: Path) -> Iterator[Trace | RecordError]:
    """Each row of `path` in turn: a trace, or, where it is none, what is wrong with it.

    Raises:
        RecordError: `path` cannot be read at all.
        MissingExtraError: it is parquet, and pyarrow is not installed.
    """
    return scan_parquet(path, Trace) if path.suffix == PARQUET else scan_jsonl(path, Trace)


def sift_traces(path: Path) -> Sifted[Trace]:
    """Read `path`, setting malformed rows aside instead of raising; errors as of `scan_traces`."""
    rows: list[Trace] = []
    faults: list[RecordError] = []
    for row in scan_traces(path):
        if isinstance(row, RecordError):
            faults.append(row)
        else:
            rows.append(row)
    return Sifted(rows=tuple(rows), faults=tuple(faults))


def read_traces(path: Path, limit: int | None = None) -> list[Trace]:
    """The first `limit` traces of `path`, or all of them.

    Raises:
        RecordError: a row among them is malformed, or there is no trace; further errors as of `scan_traces`.
    """
    traces: list[Trace] = []
    for row in scan_traces(path):
        if len(traces) == limit:
            break
        if isinstance(row, RecordError):
            raise row
        traces.append(row)
    if not traces:
        raise RecordError(f"{path} holds no trace", hint="give what `stepsight eval --out` wrote")
    return traces


def write_traces(path: Path, traces: Iterable[Trace]) -> int:
    """Write `traces` to `path` and return how many there were; errors as of `write_parquet`."""
    return write_parquet(path, traces, Trace) if path.suffix == PARQUET else write_jsonl(path, traces)
