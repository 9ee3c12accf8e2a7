"""Short ways to a server, a link and an engine for tests; time passes only when somebody sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from stepsight.engines.openai import Ability, Finding, OpenAIEngine, ProbeReport, Server
from stepsight.engines.openai.address import Key
from stepsight.engines.openai.link import Link
from stepsight.engines.openai.retrying import Backoff
from stepsight.testing import FakeServer

MODEL = "scripted-vl"
YES = Finding(value=Ability.YES, evidence="seen")
NO = Finding(value=Ability.NO, evidence="seen not to")


@dataclass
class Time:
    """A clock that jumps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for another thread, but not for ever."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def server_at(fake: FakeServer, time: Time | None = None, **options: Any) -> Server:
    time = time or Time()
    given: dict[str, Any] = {"timeout": 20.0, "key": Key(), "backoff": Backoff(attempts=3), "model": MODEL, **options}
    return Server(fake.url, rng=Random(1), clock=time.clock, sleep=time.sleep, **given)


@asynccontextmanager
async def link_to(fake: FakeServer, time: Time | None = None, **options: Any) -> AsyncIterator[Link]:
    link = Link(server_at(fake, time, **options))
    try:
        yield link
    finally:
        await link.aclose()


def report_of(fake: FakeServer, **findings: Any) -> ProbeReport:
    """What a probe of a server with good manners says, unless told otherwise."""
    able = dict.fromkeys(
        ("prefix", "images", "pictures_told_apart", "n", "stop_honoured", "stop_included", "stop_named"), YES
    )
    able |= dict.fromkeys(("logprobs", "labels", "untempered", "cache", "context", "streams"), YES)
    return ProbeReport.model_validate(
        {"url": fake.url, "model": MODEL, "at": "2026-11-24", "top_logprobs": 20, **able, **findings}
    )


@asynccontextmanager
async def engine_on(
    fake: FakeServer, *, most_at_once: int = 64, attempts: int = 3, **findings: Any
) -> AsyncIterator[OpenAIEngine]:
    server = server_at(fake, most_at_once=most_at_once, backoff=Backoff(attempts=attempts))
    engine = OpenAIEngine(server, report_of(fake, **findings))
    try:
        yield engine
    finally:
        await engine.aclose()
