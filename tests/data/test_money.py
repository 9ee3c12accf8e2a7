"""Every sending that may be on the bill is in the ledger, and the cap holds whatever the server does."""

from __future__ import annotations

import asyncio
import random
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.lessons import is_judging, lesson, number_in, staged
from tests.engines.openai.servers import MODEL, report_of, server_at

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import Built, build
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import Lesson
from stepsight.data.prices import Prices, Purse
from stepsight.engines.openai import OpenAIEngine
from stepsight.engines.openai.retrying import Backoff
from stepsight.protocols import SampleRequest
from stepsight.testing import FakeServer, Fault

PRICES = Prices(input=1.0, output=2.0, picture_tokens=100)
WORST = 2048 * 2 * 10**6
"""More than the reply of any request here may cost, by far; prompts add less than half of it."""


def answers(request: SampleRequest, slot: int, seed: int) -> str:
    """The right number; every fourth in words that only a judge can read, every third malformed at first."""
    number = int(number_in(request))
    if is_judging(request):
        return "same"
    text = staged(f"number {number}, I think" if number % 4 == 0 else str(number))
    return text.replace("</CAPTION>", "") if number % 3 == 0 and len(request.turns) == 1 else text


def billed(fake: FakeServer) -> int:
    """Picodollars that the server wants for all that its model wrote."""
    parts = [
        (one["prompt_tokens"], one.get("prompt_tokens_details", {}), one["completion_tokens"]) for one in fake.bills
    ]
    return sum(
        PRICES.price(prompt - told.get("cached_tokens", 0), told.get("cached_tokens", 0), written)
        for prompt, told, written in parts
    )


async def run(
    folder: Path, fake: FakeServer, lessons: list[Lesson], *, cap: int | None, window: int = 4, **server: Any
) -> tuple[Built, int]:
    """How a build ended, and what its ledger says was spent."""
    engine = OpenAIEngine(server_at(fake, **{"backoff": Backoff(attempts=3), **server}), report_of(fake))
    recipe = BuildRecipe.model_validate({"prices": PRICES, "window": window, "teaching": {"retry_on": ["undecided"]}})
    try:
        with Ledger(folder / LEDGER, recipe.card(engine.name)) as ledger:
            built = await asyncio.wait_for(build(lessons, engine, recipe, ledger, max_dollars=cap), 120)
            return built, ledger.spent()
    finally:
        await engine.aclose()


def sql(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / LEDGER)) as database:
        return database.execute(query).fetchall()


FAULTS = {
    "none": Fault(),
    "429": Fault(429),
    "500": Fault(500, worked=True),
    "503": Fault(503, worked=True),
    "408": Fault(408, worked=True),
    "hung up": Fault(cut=0, worked=True),
    "half a reply": Fault(cut=60),
    "truncated": Fault(truncated=True),
    "no JSON": Fault(body=b"<html>"),
    "no choices": Fault(body=b"{}"),
    "slow": Fault(wait=3.0, worked=True),
    "refused": Fault(400, "extra fields"),
}
PASSING = [name for name in FAULTS if name != "refused"]


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(PASSING), max_size=14),
    st.floats(min_value=0.5, max_value=14.0),
    st.integers(min_value=1, max_value=6),
)
def test_the_ledger_never_says_less_than_the_bill_and_the_cap_holds(
    tmp_path_factory: pytest.TempPathFactory, faults: list[str], room: float, window: int
) -> None:
    # Not more than one fault that takes time.
    slow = [place for place, name in enumerate(faults) if name == "slow"]
    faults = [name for place, name in enumerate(faults) if place not in slow[1:]]
    folder, cap = tmp_path_factory.mktemp("run"), int(room * WORST)
    most: list[Purse] = []
    made = Purse.__init__

    def watched(self: Purse, *arguments: Any) -> None:
        made(self, *arguments)
        most.append(self)

    with (
        FakeServer(faults=[FAULTS[name] for name in faults], write=answers) as fake,
        pytest.MonkeyPatch.context() as at,
    ):
        at.setattr(Purse, "__init__", watched)
        lessons = [lesson(number) for number in range(6)]
        built, spent = asyncio.run(run(folder, fake, lessons, cap=cap, window=window, timeout=1.0))
        assert billed(fake) <= spent <= cap
        assert most[0].most_at_risk <= cap
        fake.faults.clear()
        built, spent = asyncio.run(run(folder, fake, lessons, cap=100 * WORST, window=window))
        assert billed(fake) <= spent
    assert (built.ending, built.progress.failed) == ("done", 0)
    assert sql(folder, "SELECT (SELECT SUM(lost) FROM attempts) = (SELECT COALESCE(SUM(lost), 0) FROM failures)") == [
        (1,)
    ]
    assert sql(folder, "SELECT COUNT(*) FROM attempts WHERE state != 'replied'") == [(0,)]


@pytest.mark.parametrize(
    ("name", "counts"), [(name, name != "429") for name in PASSING if name not in ("none", "slow")]
)
async def test_each_sending_is_noted_at_what_it_may_have_cost(tmp_path: Path, name: str, counts: bool) -> None:
    with FakeServer(faults=[FAULTS[name]], write=answers) as fake:
        await run(tmp_path, fake, [lesson(1)], cap=None)
    (reserved, lost), *more = sql(tmp_path, "SELECT reserved, lost FROM attempts")
    assert more == []
    assert lost == (reserved if counts else 0)
    ((sent, reason, amount),) = sql(tmp_path, "SELECT sent, reason, lost FROM failures")
    assert (sent, amount) == (1, lost)
    assert reason


async def test_what_was_never_sent_or_sent_away_costs_nothing(tmp_path: Path) -> None:
    with FakeServer(faults=[FAULTS["refused"]], write=answers) as fake:
        with pytest.raises(Exception, match="extra fields"):
            await run(tmp_path / "a", fake, [lesson(1)], cap=None)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = server_at(fake)
            engine = OpenAIEngine(
                type(server)(f"http://127.0.0.1:{free.getsockname()[1]}/v1", MODEL, sleep=server.sleep), report_of(fake)
            )
        recipe = BuildRecipe(prices=PRICES)
        with Ledger(tmp_path / "b" / LEDGER, recipe.card(engine.name)) as ledger:
            built = await build([lesson(1)], engine, recipe, ledger)
        await engine.aclose()
    assert built.progress.failed == 1
    assert sql(tmp_path / "a", "SELECT COUNT(*), SUM(lost) FROM failures") == [(1, 0)]
    assert sql(tmp_path / "b", "SELECT COUNT(*), SUM(lost) FROM failures") == [(6, 0)]


async def test_who_cannot_pay_for_another_sending_waits_until_others_have_paid(tmp_path: Path) -> None:
    """The second question holds its money and waits for the first, whose beginning it shares; the first fails, and has
    not enough for another sending while the second holds its own."""
    whole = tmp_path / "whole"
    with FakeServer(write=answers) as fake:
        await run(whole, fake, [lesson(1), lesson(2)], cap=None)
    ((reserved, price),) = sql(whole, "SELECT MAX(reserved), MAX(price) FROM attempts")
    cap = 2 * reserved + 2 * price
    with FakeServer(faults=[FAULTS["500"]], write=answers) as fake:
        built, spent = await run(tmp_path, fake, [lesson(1), lesson(2)], cap=cap)
        assert (built.ending, built.progress.kept) == ("done", 2)
        assert billed(fake) <= spent <= cap
    assert sql(tmp_path, "SELECT sent FROM attempts ORDER BY question") == [(2,), (1,)]


async def test_a_cap_that_does_not_allow_another_sending_ends_the_run(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with FakeServer(write=answers) as fake:
        await run(whole, fake, [lesson(1)], cap=None)
    ((reserved,),) = sql(whole, "SELECT reserved FROM attempts")
    with FakeServer(faults=[FAULTS["500"]] * 9, write=answers) as fake:
        built, spent = await run(tmp_path, fake, [lesson(1)], cap=2 * reserved - 1)
        assert (built.ending, spent, len(fake.seen)) == ("dollars", reserved, 1)
        assert billed(fake) <= spent


async def test_a_run_that_was_left_while_sending_counts_that_sending(tmp_path: Path) -> None:
    stalled = random.Random(1)
    with FakeServer(faults=[FAULTS["500"], Fault(wait=20, worked=True)], write=answers) as fake:
        task = asyncio.create_task(run(tmp_path, fake, [lesson(1)], cap=None))
        while len(fake.seen) < 2 or len(fake.bills) < 2:
            await asyncio.sleep(0.01 * stalled.random())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert sql(tmp_path, "SELECT sent, reason LIKE '%(500)%', lost > 0 FROM failures") == [(1, 1, 1), (2, 0, 1)]
    ((lost, reserved),) = sql(tmp_path, "SELECT lost, reserved FROM attempts")
    assert lost == 2 * reserved
