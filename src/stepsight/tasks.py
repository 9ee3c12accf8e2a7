"""Several pieces of async work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


async def together(works: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run all at once; results in order. The first failure cancels the others and is raised as it is, in no group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def finished(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of async work, for code that is not async; works inside a running event loop too, and blocks it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
