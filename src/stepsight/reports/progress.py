"""How far a long piece of work is; nothing is drawn where the console is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def counting(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar while the block runs; gives a function to call with how many of `total` are done."""
    with described(console, what, total) as tell:
        yield lambda done: tell(done, "")


@contextmanager
def described(console: Console, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Like `counting`, with a remark behind the count."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total, remark="")
        yield lambda done, remark: bar.update(task, completed=done, remark=remark)
