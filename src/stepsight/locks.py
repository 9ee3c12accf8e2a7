"""One process at a time: two runs that write the same files would do all work twice and spoil what the other leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stepsight.errors import InputError


@contextmanager
def alone(path: Path | None) -> Iterator[None]:
    """Keep other processes that ask for the same out of `path` until the block ends; None keeps nobody out.

    The lock is a hidden file beside it, and is released when the process ends, in whatever way. On a file system
    without locks nobody is kept out.

    Raises:
        InputError: another process is in there, or this one already.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another process writes to {path}", hint="wait until it ends, or end it, and start this again"
        ) from None
    except NotImplementedError:
        yield
        return
    try:
        yield
    finally:
        # Nothing is left behind, at a price: who opened the file just before it went, and locks it just after, shares
        # `path` with whoever comes next. Between the two lie microseconds, and runs last minutes.
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
