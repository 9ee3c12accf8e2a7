"""The window of requests under way: additive increase, multiplicative decrease, order, and places that are not lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stepsight.engines.openai.window import Gate, Window

STEPS = st.lists(st.sampled_from(["start", "succeed", "refuse", "cancel"]), max_size=200)


@given(steps=STEPS, most=st.integers(1, 20), start=st.floats(1, 20))
def test_the_window_keeps_its_bounds_and_counts_right(steps: list[str], most: int, start: float) -> None:
    window = Window(limit=min(start, most), most=most)
    tickets: list[int] = []
    for step in steps:
        before = window.limit
        if step == "start":
            if window.room:
                window.start()
                tickets.append(window.cuts)
        elif tickets:
            ticket = tickets.pop(0)
            if step == "succeed":
                window.succeeded()
                assert before <= window.limit <= before + 1 / before
            elif step == "refuse":
                window.overloaded(ticket)
                assert window.limit in (before, max(1.0, before / 2))
            window.finish()
        assert 1 <= window.limit <= most
        assert window.busy == len(tickets)
        assert window.busy <= most
        assert window.room or window.busy


@given(limit=st.integers(2, 64))
def test_refusals_of_one_volley_cut_once_and_a_full_window_of_successes_adds_about_one(limit: int) -> None:
    window = Window(limit=float(limit), most=1000)
    for _ in range(limit):
        window.start()
    volley = window.cuts
    for _ in range(limit):
        window.succeeded()
    assert limit + 0.5 < window.limit <= limit + 1
    now = window.limit
    for _ in range(limit):
        window.overloaded(volley)
    assert window.limit == now / 2
    window.overloaded(window.cuts)
    assert window.limit == max(1.0, now / 4)


def test_an_idle_window_proves_nothing() -> None:
    window = Window(limit=8.0)
    window.start()
    window.succeeded()
    assert window.limit == 8.0


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def test_tasks_pass_in_order_and_never_more_than_the_window_holds() -> None:
    clock = Clock()
    gate = Gate(Window(limit=2.0, most=2), clock, clock.sleep)
    passed: list[int] = []
    inside = most = 0

    async def work(number: int) -> None:
        nonlocal inside, most
        async with gate.passage():
            passed.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work(number) for number in range(9)))
    assert passed == list(range(9))
    assert most == 2
    assert gate.window.busy == 0


async def test_cancelled_tasks_give_their_place_away() -> None:
    clock = Clock()
    gate = Gate(Window(limit=1.0, most=1), clock, clock.sleep)
    release = asyncio.Event()
    entered: list[str] = []

    async def work(name: str) -> None:
        async with gate.passage():
            entered.append(name)
            await release.wait()

    tasks = [asyncio.create_task(work(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()  # while it waits
    tasks[0].cancel()  # while it is inside
    await asyncio.wait(tasks[:2])
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait(tasks, timeout=5)
    assert entered == ["a", "c", "d"]
    assert gate.window.busy == 0


async def test_a_task_cancelled_between_being_admitted_and_running_gives_its_place_on() -> None:
    clock = Clock()
    gate = Gate(Window(limit=1.0, most=1), clock, clock.sleep)
    entered: list[str] = []

    async def work(name: str) -> None:
        async with gate.passage():
            entered.append(name)

    async with gate.passage():
        first, second = (asyncio.create_task(work(name)) for name in "ab")
        await asyncio.sleep(0)
    assert gate.window.busy == 1  # the first is admitted and has not run yet
    first.cancel()
    done, _ = await asyncio.wait([first, second], timeout=5)
    assert done == {first, second}
    assert entered == ["b"]
    assert gate.window.busy == 0


async def test_a_pause_holds_everybody_back_and_the_longest_counts() -> None:
    clock = Clock()
    gate = Gate(Window(), clock, clock.sleep)
    gate.pause(5.0)
    gate.pause(2.0)
    async with gate.passage():
        assert clock.now == 5.0
    async with gate.passage():
        assert clock.slept == [5.0]
