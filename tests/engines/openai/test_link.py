"""Over real HTTP: what is asked again, what is not, what an error says, and what a cancelled task leaves behind."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.engines.openai.servers import MODEL, Time, link_to, server_at, until

from stepsight.engines.openai.address import Key
from stepsight.engines.openai.engine import COMPLETIONS
from stepsight.engines.openai.link import Link
from stepsight.engines.openai.retrying import Backoff
from stepsight.engines.openai.trials import QUESTION
from stepsight.errors import EngineError, ModelError, StepsightError, TooLongError
from stepsight.testing import FakeServer, Fault, Manners

PAYLOAD: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": QUESTION}],
    "max_tokens": 32,
    "temperature": 0,
}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


PASSING = {
    "429": Fault(429),
    "408": Fault(408),
    "500": Fault(500),
    "503": Fault(503),
    "hung up": Fault(cut=0),
    "half a reply": Fault(cut=40),
    "no JSON": Fault(body=b'{"choices": [{"mess'),
    "no object": Fault(body=b"[]"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_passing_fault_is_asked_again(fake: FakeServer, fault: Fault) -> None:
    fake.faults.extend([fault, fault])
    passing = Time()
    async with link_to(fake, passing) as link:
        reply = await link.post(COMPLETIONS, PAYLOAD)
        assert link.window.busy == 0
    assert reply["choices"][0]["message"]["content"].startswith("Monday")
    assert len(fake.seen) == 3
    assert len(passing.slept) == 2
    assert all(0 <= wait <= 1 for wait in passing.slept)


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_it_is_not_asked_for_ever_and_the_error_says_that_it_may_pass(fake: FakeServer, fault: Fault) -> None:
    fake.faults.extend([fault] * 9)
    async with link_to(fake) as link:
        with pytest.raises(EngineError, match="tried 3 times") as caught:
            await link.post(COMPLETIONS, PAYLOAD)
        assert link.window.busy == 0
    assert caught.value.retryable
    assert len(fake.seen) == 3


FINAL = [
    (Fault(401), EngineError, "no.* is set|none is set"),
    (Fault(403), EngineError, "STEPSIGHT_API_KEY"),
    (Fault(404, "no such model"), ModelError, "no such model"),
    (Fault(400, "This model's maximum context length is 9 tokens."), TooLongError, "do not fit.*--max-tokens"),
    (
        Fault(400, "The input (9 tokens) is longer than the model's context length (8 tokens)."),
        TooLongError,
        "do not fit",
    ),
    (Fault(400, "request (9 tokens) exceeds the available context size (8 tokens)"), TooLongError, "do not fit"),
    (Fault(400, "The decoder prompt is longer than the maximum model length of 9."), TooLongError, "do not fit"),
    (Fault(400, "Input length 9 exceeds the maximum allowed length (8 tokens)."), TooLongError, "do not fit"),
    (Fault(413, "prompt is too long: 9 tokens > 8 maximum"), TooLongError, "do not fit"),
    (Fault(400, "temperature must be positive"), EngineError, "temperature must be positive"),
    (Fault(422, "extra fields"), EngineError, "extra fields"),
    (Fault(429, "You exceeded your current quota: insufficient_quota"), EngineError, "on credit"),
    (Fault(501, "not built in"), EngineError, "not built in"),
    (Fault(302, headers={"Location": "http://elsewhere.invalid/"}), EngineError, "elsewhere"),
]


@pytest.mark.parametrize(("fault", "kind", "says"), FINAL, ids=lambda value: str(getattr(value, "status", "")))
async def test_a_lasting_fault_is_a_clear_error_at_once(
    fake: FakeServer, fault: Fault, kind: type[StepsightError], says: str
) -> None:
    fake.faults.append(fault)
    async with link_to(fake) as link:
        with pytest.raises(kind, match=says) as caught:
            await link.post(COMPLETIONS, PAYLOAD)
    assert not caught.value.retryable
    assert caught.value.hint
    assert len(fake.seen) == 1


async def test_what_the_server_asks_to_wait_is_waited_by_everybody(fake: FakeServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    fake.faults.extend([Fault(429, headers={"Retry-After": "7"}), Fault(429, headers={"Retry-After": date})])
    passing = Time()
    async with link_to(fake, passing, most_at_once=1) as link:
        await asyncio.gather(*(link.post(COMPLETIONS, PAYLOAD) for _ in range(3)))
    assert len(fake.seen) == 5
    assert passing.now >= 7 + 47
    assert any(7 <= wait <= 7.5 for wait in passing.slept)
    assert any(47 <= wait <= 50.5 for wait in passing.slept)


async def test_a_server_that_asks_for_too_long_a_wait_is_given_up_and_quoted(fake: FakeServer) -> None:
    fake.faults.append(Fault(429, headers={"Retry-After": "3600"}))
    async with link_to(fake) as link:
        with pytest.raises(EngineError, match="wait 3600 s") as caught:
            await link.post(COMPLETIONS, PAYLOAD)
    assert caught.value.retryable
    assert len(fake.seen) == 1


async def test_a_slow_server_times_out_and_narrows_the_window(fake: FakeServer) -> None:
    fake.faults.extend([Fault(wait=5), Fault(wait=5)])
    async with link_to(fake, timeout=1.0) as link:
        reply = await link.post(COMPLETIONS, PAYLOAD)
        # Halved twice, then one success of a window half in use.
        assert (link.window.cuts, link.window.limit) == (2, 8 / 2 / 2 + 1 / 2)
    assert reply["choices"]
    fake.faults.append(Fault(wait=5))
    async with link_to(fake, timeout=0.1, backoff=Backoff(attempts=1)) as link:
        with pytest.raises(EngineError, match="took too long"):
            await link.post(COMPLETIONS, PAYLOAD)


async def test_the_window_narrows_once_with_a_volley_of_refusals_and_grows_with_successes(fake: FakeServer) -> None:
    # All eight are under way before the first is refused.
    fake.faults.extend([Fault(429, wait=20, until=lambda: fake.most_at_once == 8)] * 8)
    async with link_to(fake) as link:
        await asyncio.gather(*(link.post(COMPLETIONS, PAYLOAD) for _ in range(30)))
        assert fake.most_at_once == 8
        assert link.window.cuts == 1
        grown = link.window.limit
        assert 4 < grown < 9  # (16 + 2 * 30) ** 0.5
        fake.most_at_once = 0
        await asyncio.gather(*(link.post(COMPLETIONS, PAYLOAD) for _ in range(60)))
        assert link.window.limit > grown
        assert fake.most_at_once <= int(link.window.limit)


async def test_a_cancelled_task_hangs_up_on_the_server(fake: FakeServer) -> None:
    fake.faults.append(Fault(wait=20))
    async with link_to(fake) as link:
        task = asyncio.create_task(link.post(COMPLETIONS, PAYLOAD))
        await until(lambda: fake.seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: fake.gone)
        assert link.window.busy == 0
        assert (await link.post(COMPLETIONS, PAYLOAD))["choices"]


async def test_nobody_there_is_said_after_the_attempts() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with FakeServer() as fake:
        server = server_at(fake)
    link = Link(type(server)(f"http://127.0.0.1:{port}/v1", MODEL, Key(), backoff=Backoff(attempts=2, base=0.001)))
    with pytest.raises(EngineError, match=rf"127.0.0.1:{port}/v1 cannot be reached.*tried 2 times") as caught:
        await link.get("/models")
    await link.aclose()
    assert caught.value.retryable
    meter = Watching()
    link = Link(server_at(fake, backoff=Backoff(attempts=2)))
    with pytest.raises(EngineError):
        await link.post(COMPLETIONS, PAYLOAD, meter)
    await link.aclose()
    assert [billed for _, billed in meter.told] == [False, False]


async def test_the_key_is_sent_and_shows_up_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeServer(Manners(key="sk-right")) as fake:
        async with link_to(fake, key=Key("sk-right", "OPENAI_API_KEY")) as link:
            assert await link.post(COMPLETIONS, PAYLOAD)
            fake.faults.append(Fault(400, "bad request of Bearer sk-right"))
            with pytest.raises(EngineError) as quoted:
                await link.post(COMPLETIONS, PAYLOAD)
        async with link_to(fake, key=Key("sk-wrong", "OPENAI_API_KEY")) as link:
            with pytest.raises(EngineError, match="the key in OPENAI_API_KEY is not accepted") as refused:
                await link.post(COMPLETIONS, PAYLOAD)
        async with link_to(fake) as link:
            with pytest.raises(EngineError, match="wants a key and none is set"):
                await link.post(COMPLETIONS, PAYLOAD)
        assert len(fake.seen) == 4
    assert "[key]" in str(quoted.value)
    assert fake.headers[0]["Authorization"] == "Bearer sk-right"
    everything = f"{quoted.value!r} {refused.value!r} {caplog.text} {link!r} {server_at(fake, key=Key('sk-right'))!r}"
    assert "sk-right" not in everything
    assert "sk-wrong" not in everything


class Watching:
    """A meter that writes down what it is told, and lets so many further sendings pass."""

    def __init__(self, again: int = 99) -> None:
        self.told: list[tuple[str, bool]] = []
        self.left = again

    async def failed(self, why: str, *, billed: bool) -> None:
        self.told.append((why, billed))

    async def again(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_every_sending_without_a_reply_is_told_and_whether_it_may_be_billed(
    fake: FakeServer, fault: Fault
) -> None:
    fake.faults.extend([fault, fault])
    meter = Watching()
    async with link_to(fake) as link:
        assert await link.post(COMPLETIONS, PAYLOAD, meter)
    assert [billed for _, billed in meter.told] == [fault.status != 429] * 2
    assert all(why for why, _ in meter.told)


async def test_a_time_out_and_a_broken_stream_may_be_billed_a_refused_request_not(fake: FakeServer) -> None:
    meter = Watching()
    fake.faults.extend([Fault(wait=5), Fault(events=2), Fault(400, "no")])
    async with link_to(fake, timeout=1.0) as link:
        with pytest.raises(EngineError, match="no"):
            await link.stream(COMPLETIONS, {**PAYLOAD, "stream": True}, lambda index, text: None, meter)
    assert [billed for _, billed in meter.told] == [True, True, False]


async def test_nothing_is_sent_again_that_the_meter_does_not_allow(fake: FakeServer) -> None:
    fake.faults.extend([Fault(500)] * 9)
    meter = Watching(again=1)
    async with link_to(fake, backoff=Backoff(attempts=6)) as link:
        with pytest.raises(EngineError, match=r"\(500\).*tried 2 times"):
            await link.post(COMPLETIONS, PAYLOAD, meter)
    assert len(fake.seen) == len(meter.told) == 2
