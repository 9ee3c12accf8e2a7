"""So many pass at a time, in order; so many wait; the others are told when to come back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from stepsight.serving.refusals import Refused
from stepsight.serving.turnstile import Turnstile


class Visitors:
    """Tasks that stay inside until they are let out."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.turnstile, self.inside, self.out = turnstile, list[int](), asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def enter(self, number: int) -> None:
        async with self.turnstile.passage():
            self.inside.append(number)
            await self.out.wait()

    async def come(self, count: int) -> None:
        self.tasks += [asyncio.create_task(self.enter(len(self.tasks) + one)) for one in range(count)]
        for _ in range(4):
            await asyncio.sleep(0)

    async def leave(self) -> None:
        self.out.set()
        for task in self.tasks:
            with suppress(asyncio.CancelledError, Refused):
                await task


async def test_they_pass_in_order_and_wait_for_places() -> None:
    turnstile = Turnstile(2, 3, 30)
    visitors = Visitors(turnstile)
    await visitors.come(5)
    assert (visitors.inside, turnstile.running, turnstile.waiting) == ([0, 1], 2, 3)
    with pytest.raises(Refused) as refused:
        async with turnstile.passage():
            pass
    assert (refused.value.status, refused.value.all_headers["Retry-After"]) == (429, "2")
    await visitors.leave()
    assert visitors.inside == [0, 1, 2, 3, 4]
    assert (turnstile.running, turnstile.waiting) == (0, 0)
    async with turnstile.passage():
        assert turnstile.running == 1


async def test_who_goes_away_leaves_the_queue_or_the_place() -> None:
    turnstile = Turnstile(1, 2, 30)
    visitors = Visitors(turnstile)
    await visitors.come(3)
    visitors.tasks[1].cancel()
    await asyncio.sleep(0)
    assert (turnstile.running, turnstile.waiting) == (1, 1)
    visitors.tasks[0].cancel()
    for _ in range(4):
        await asyncio.sleep(0)
    assert visitors.inside == [0, 2]
    await visitors.leave()
    assert (turnstile.running, turnstile.waiting) == (0, 0)


async def test_nobody_waits_longer_than_they_may() -> None:
    turnstile = Turnstile(1, 2, 0.01)
    visitors = Visitors(turnstile)
    await visitors.come(1)
    with pytest.raises(Refused, match="too many"):
        async with turnstile.passage():
            pass
    assert turnstile.waiting == 0
    await visitors.leave()


async def test_without_a_queue_all_others_are_sent_away_at_once() -> None:
    turnstile = Turnstile(1, 0, 30)
    async with turnstile.passage():
        with pytest.raises(Refused):
            async with turnstile.passage():
                pass
    async with turnstile.passage():
        pass
