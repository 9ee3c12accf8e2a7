"""A file of traces made into another, trace by trace, so that a killed process loses nothing that was finished.

While it lasts, finished traces stand in `<file>.part`, beside it `<file>.part.json` says what is being made. The file
itself appears whole, in the order of the source, when the last is finished. What is finished is known by what it was
made from, so the source may grow or change meanwhile. Two processes that make the same file are not covered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stepsight.errors import InputError, RecordError
from stepsight.files import whole_file
from stepsight.jsonl import append_jsonl
from stepsight.locks import alone
from stepsight.records import Record, Trace
from stepsight.tracefiles import scan_traces, write_traces

Make = Callable[[Trace], Awaitable[Trace]]


@dataclass(frozen=True)
class Remade:
    """What came of it: traces written, how many of them were finished before, and how many have another answer."""

    traces: int
    resumed: int
    changed: int


@dataclass(frozen=True)
class Survey:
    """What a file of traces holds, looked through once: how many, the pictures they ask about, and malformed rows."""

    traces: int
    pictures: tuple[Path, ...]
    faults: tuple[RecordError, ...]


class _Finished(Record):
    """A line of the partial file; `source` is the digest of the trace that it was made from."""

    source: str
    trace: Trace


def survey(source: Path, *, limit: int | None = None) -> Survey:
    """Look through the first `limit` rows of a file of traces, before any work is done on it.

    Raises:
        RecordError: it cannot be read, or there is no trace.
    """
    count = 0
    pictures: dict[Path, None] = {}
    faults: list[RecordError] = []
    for row in islice(scan_traces(source), limit):
        if isinstance(row, RecordError):
            faults.append(row)
        else:
            count += 1
            pictures.update(dict.fromkeys(row.question.images))
    if not count:
        why = f": {faults[0]}" if faults else ""
        raise RecordError(f"{source} holds no trace{why}", hint="give what `stepsight eval --out` wrote")
    return Survey(traces=count, pictures=tuple(pictures), faults=tuple(faults))


def partial_of(out: Path) -> Path:
    """Where finished traces stand until `out` is whole."""
    return out.with_name(f"{out.name}.part")


async def remake(
    source: Path,
    out: Path,
    make: Make,
    *,
    identity: Mapping[str, object],
    limit: int | None = None,
    concurrency: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> Remade:
    """Make each trace of `source` into another and write them to `out`; malformed rows are left out (see `survey`).

    Args:
        source: a file of traces.
        out: appears when all are finished.
        make: makes one.
        identity: what is being made; a partial file is gone on with only if it was the same.
        limit: only the first so many rows.
        concurrency: how many are made at a time.
        progress: called with the number of finished traces.

    Raises:
        InputError: `out` is `source`, its partial file belongs to something else, or another process is writing it.
    """
    if out.exists() and out.samefile(source):
        raise InputError(f"{out} is what is read", hint="choose another file")
    partial = partial_of(out)
    with alone(partial):
        before = _resume(partial, identity)
        taken = set(before)
        resumed = done = 0
        rows = _sound(source, limit)

        async def work() -> None:
            nonlocal resumed, done
            for trace in rows:
                digest = _digest(trace)
                resumed += digest in before
                if digest not in taken:
                    taken.add(digest)
                    append_jsonl(partial, [_Finished(source=digest, trace=await make(trace))])
                done += 1
                progress(done)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except ExceptionGroup as errors:
            # The first error says what went wrong; the others are its like.
            raise errors.exceptions[0] from None
        changed = 0

        def ordered() -> Iterator[Trace]:
            nonlocal changed
            places = dict(_scan(partial))
            with partial.open("rb") as stream:
                for trace in _sound(source, limit):
                    stream.seek(places[_digest(trace)])
                    made = _Finished.model_validate_json(stream.readline()).trace
                    changed += made.chosen != trace.chosen
                    yield made

        written = write_traces(out, ordered())
        for path in (partial, _card(partial)):
            path.unlink(missing_ok=True)
    return Remade(traces=written, resumed=resumed, changed=changed)


def _sound(source: Path, limit: int | None) -> Iterator[Trace]:
    return (row for row in islice(scan_traces(source), limit) if isinstance(row, Trace))


def _digest(trace: Trace) -> str:
    return hashlib.sha256(trace.model_dump_json().encode()).hexdigest()


def _card(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _resume(partial: Path, identity: Mapping[str, object]) -> set[str]:
    """What is finished; starts the partial file's card if there is none."""
    wanted = json.loads(json.dumps(identity))
    if not partial.exists():
        partial.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(_card(partial)) as stream:
            stream.write(json.dumps(wanted, indent=2).encode() + b"\n")
        partial.touch()
        return set()
    try:
        held = json.loads(_card(partial).read_bytes())
    except (OSError, ValueError):
        held = {}
    if held != wanted:
        differing = [key for key in wanted if not isinstance(held, dict) or held.get(key) != wanted[key]]
        raise InputError(
            f"{partial} is what was finished of something else (other {', '.join(differing) or 'settings'})",
            hint="choose another --out, or delete it",
        )
    return {digest for digest, _ in _scan(partial)}


def _scan(partial: Path) -> Iterator[tuple[str, int]]:
    """Digest and place of every whole line; one that was torn when the process was killed is passed over."""
    place = 0
    with partial.open("rb") as stream:
        for line in stream:
            with suppress(ValueError):
                yield _Finished.model_validate_json(line).source, place
            place += len(line)
