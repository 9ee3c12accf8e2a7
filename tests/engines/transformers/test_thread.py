"""One thread runs everything, in order, and what fails is raised where somebody waits."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from stepsight.engines.transformers.thread import OneThread


def test_everything_runs_in_order_in_one_thread_that_is_not_ours() -> None:
    thread = OneThread("worker")
    seen: list[tuple[int, str]] = []

    def note(number: int) -> None:
        seen.append((number, threading.current_thread().name))

    futures = [thread.start(partial(note, number)) for number in range(20)]
    assert thread.call(lambda: thread.inside)
    assert not thread.inside
    assert all(future.done() for future in futures)
    assert seen == [(n, "worker") for n in range(20)]
    thread.end()


def test_what_fails_is_raised_and_the_thread_goes_on() -> None:
    thread = OneThread("worker")
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)
    assert thread.call(lambda: 3) == 3
    thread.end()


def test_a_shared_thread_ends_with_its_last_user() -> None:
    thread = OneThread("worker")
    other = thread.shared()
    assert other is thread
    thread.end()
    assert other.call(lambda: 3) == 3
    running = other._begun
    other.end()
    assert running is not None
    running.join(5)
    assert not running.is_alive()
