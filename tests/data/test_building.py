"""A build through its ledger: every question once, nothing paid twice, never more than allowed, the same bytes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.data.lessons import is_judging, lesson, number_in, staged, teacher

from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import Built, Progress, build, write_rows
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import Lesson
from stepsight.data.prices import CapReachedError, Prices, Purse
from stepsight.engines.scripted import ScriptedEngine
from stepsight.errors import CapabilityError, EngineError, InputError, PictureError, StepsightError, TooLongError
from stepsight.protocols import Completion, Engine, OnText, SampleRequest, SampleResult, Turn
from stepsight.records import Finish, Piece

PRICES = Prices(input=1.0, output=2.0, picture_tokens=100)
LESSONS = [lesson(number) for number in range(20)]


def recipe(window: int = 4, **changed: object) -> BuildRecipe:
    return BuildRecipe.model_validate({"window": window, "prices": PRICES, **changed})


def opened(folder: Path, plan: BuildRecipe | None = None, engine: str = "scripted") -> Ledger:
    return Ledger(folder / LEDGER, (plan or recipe()).card(engine))


async def run(
    folder: Path,
    engine: Engine,
    lessons: Sequence[Lesson] = LESSONS,
    plan: BuildRecipe | None = None,
    *,
    dollars: int | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Built:
    plan = plan or recipe()
    with opened(folder, plan, engine.name) as ledger:
        built = await build(lessons, engine, plan, ledger, max_dollars=dollars, stop=stop, progress=progress)
        write_rows(ledger, folder)
        return built


def rows(folder: Path, name: str = "train.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def sql(folder: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / LEDGER)) as database:
        found = database.execute(query).fetchall()
        database.commit()
        return found


class Failing:
    """Raises what it was told to on requests for certain numbers, as often as told."""

    def __init__(self, faults: dict[str, list[StepsightError]]) -> None:
        self.inner = teacher()
        self.name = self.inner.name
        self.capabilities = self.inner.capabilities
        self.faults = faults
        self.score = self.inner.score

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        if waiting := self.faults.get(number_in(request)):
            raise waiting.pop(0)
        return await self.inner.sample(request, on_text)


async def test_every_question_becomes_a_row_in_order_whatever_the_window(tmp_path: Path) -> None:
    for window in (1, 7, 64):
        built = await run(tmp_path / str(window), teacher(yields=window % 5), plan=recipe(window))
        assert (built.ending, built.progress.kept, built.progress.asked) == ("done", 20, 20)
    first = (tmp_path / "1" / "train.jsonl").read_bytes()
    assert (tmp_path / "7" / "train.jsonl").read_bytes() == (tmp_path / "64" / "train.jsonl").read_bytes() == first
    human, gpt = {"from": "human", "value": "Which number has q0?"}, {"from": "gpt", "value": staged("0")}
    assert rows(tmp_path / "1")[0] == {"id": "q0", "conversations": [human, gpt]}
    assert [row["id"] for row in rows(tmp_path / "1")] == [one.question.id for one in LESSONS]


async def test_turns_of_a_row_stand_together_in_their_order_without_those_rejected(tmp_path: Path) -> None:
    def turn(number: int, row: str, place: int) -> Lesson:
        return lesson(number, images=("a.png",), meta={"row": row, "turn": place, "image": f"{row}.png"})

    lessons = [turn(0, "r", 2), turn(1, "s", 0), turn(2, "r", 0), turn(3, "r", 1)]
    wrong = teacher(lambda request: staged("99" if number_in(request) == "3" else number_in(request)))
    await run(tmp_path, wrong, lessons)
    first, second = rows(tmp_path)
    said = first["conversations"]
    assert isinstance(said, list)
    assert (first["id"], first["image"], second["id"]) == ("r", "r.png", "s")
    assert [turn["value"] for turn in said[1::2]] == [staged("2"), staged("0")]


async def test_rejects_keep_reason_and_text(tmp_path: Path) -> None:
    await run(tmp_path, teacher(lambda request: staged("99")), [lesson(1)])
    (row,) = rows(tmp_path, "rejects.jsonl")
    assert (row["id"], row["reason"], row["text"], row["answer"]) == ("q1", "disagrees", staged("99"), "1")
    assert rows(tmp_path) == []


async def test_fresh_tries_are_in_the_ledger_and_are_not_paid_for_again(tmp_path: Path) -> None:
    replies = iter([staged("99"), staged("98"), staged("1")])
    plan = recipe(teaching={"retry_on": ["disagrees"], "tries": 3})
    engine = teacher(lambda request: next(replies))
    await run(tmp_path, engine, [lesson(1)], plan)
    assert [row["id"] for row in rows(tmp_path)] == ["q1"]
    assert sql(tmp_path, "SELECT replies, before FROM questions") == [(3, "disagrees,disagrees")]
    assert sql(tmp_path, "SELECT COUNT(*), COUNT(DISTINCT reply), SUM(price) > 0 FROM attempts") == [(3, 3, 1)]
    # As if killed before the question was settled: all three replies are taken from the ledger.
    sql(tmp_path, "UPDATE questions SET state = 'open'")
    built = await run(tmp_path, engine, [lesson(1)], plan)
    assert (built.progress.kept, built.progress.asked, built.progress.recalled) == (1, 0, 3)


async def test_a_grammar_that_the_teacher_lacks_is_said_before_anything_is_begun(tmp_path: Path) -> None:
    engine = teacher()
    with pytest.raises(CapabilityError, match="grammar"):
        await run(tmp_path, engine, plan=recipe(teaching={"grammar": True}))
    assert engine.calls == []
    assert sql(tmp_path, "SELECT COUNT(*) FROM questions") == [(0,)]


async def test_a_second_start_asks_nothing(tmp_path: Path) -> None:
    await run(tmp_path, teacher())
    before = (tmp_path / "train.jsonl").read_bytes()
    again = teacher()
    built = await run(tmp_path, again)
    assert (built.progress.resumed, built.progress.asked, again.calls) == (20, 0, [])
    assert (tmp_path / "train.jsonl").read_bytes() == before


async def test_a_reply_that_was_received_is_not_asked_for_again(tmp_path: Path) -> None:
    """Killed between the teacher's reply and the judge's: the question goes on from the ledger."""

    def say(request: SampleRequest) -> str:
        if is_judging(request):
            raise KeyError("killed here")
        return staged("that one")

    with pytest.raises(KeyError):
        await run(tmp_path, teacher(say), [lesson(1)])
    later = teacher(lambda request: "same")  # would be malformed, were the teacher asked
    built = await run(tmp_path, later, [lesson(1)])
    assert (built.progress.kept, built.progress.asked, built.progress.recalled) == (1, 1, 1)


async def test_the_engine_failing_for_now_leaves_a_question_for_the_next_start(tmp_path: Path) -> None:
    engine = Failing({"3": [EngineError("busy", retryable=True)]})
    built = await run(tmp_path, engine)
    assert (built.progress.kept, built.progress.failed, built.first_failure) == (19, 1, "busy")
    assert sql(tmp_path, "SELECT id, reason FROM questions WHERE state = 'failed'") == [("q3", "engine-error")]
    built = await run(tmp_path, engine)
    assert (built.progress.kept, built.progress.resumed, len(rows(tmp_path))) == (1, 19, 20)
    # What failed may have been billed: its worst price stays in the sum.
    assert sql(tmp_path, "SELECT lost > 0, sent FROM attempts WHERE question = 'q3'") == [(1, 2)]


async def test_the_engine_failing_for_good_stops_the_run_and_keeps_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no key"):
        await run(tmp_path, Failing({"9": [EngineError("no key")]}), plan=recipe(1))
    built = await run(tmp_path, teacher())
    assert (built.progress.resumed, built.progress.kept) == (9, 11)


async def test_a_question_that_cannot_be_asked_is_rejected(tmp_path: Path) -> None:
    await run(tmp_path, Failing({"1": [PictureError("no picture")], "2": [TooLongError("too long")]}))
    assert [(row["id"], row["reason"]) for row in rows(tmp_path, "rejects.jsonl")] == [
        ("q1", "picture"),
        ("q2", "too-long"),
    ]


async def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    stop = asyncio.Event()

    def progress(now: Progress) -> None:
        if now.done == 5:
            stop.set()

    built = await run(tmp_path, teacher(yields=3), stop=stop, progress=progress)
    assert built.ending == "stopped"
    assert 5 <= built.progress.kept <= 5 + 4
    assert sql(tmp_path, "SELECT COUNT(*) FROM questions WHERE state = 'open'") == [(0,)]
    assert (await run(tmp_path, teacher())).progress.kept == 20 - built.progress.kept


async def test_cancelling_leaves_what_is_under_way_and_counts_it_as_perhaps_billed(tmp_path: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        await run_cancelled(tmp_path)
    assert sql(tmp_path, "SELECT COUNT(*) FROM attempts WHERE state = 'failed' AND lost = reserved") == [(4,)]
    assert (await run(tmp_path, teacher())).progress.kept == 20


async def run_cancelled(folder: Path) -> None:
    task = asyncio.create_task(run(folder, teacher(yields=10**9)))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await task


# Money.


async def test_the_cap_is_never_exceeded_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    await run(whole, teacher())
    assert sql(whole, "SELECT COUNT(*) FROM failures") == [(0,)]
    ((total, worst),) = sql(whole, "SELECT SUM(price), MAX(reserved) FROM attempts")
    assert isinstance(total, int)
    assert isinstance(worst, int)
    seen: list[int] = []
    cap = worst + total // 2
    built = await run(tmp_path, teacher(yields=2), dollars=cap, progress=lambda now: seen.append(now.spent))
    assert built.ending == "dollars"
    assert 0 < built.progress.kept < 20
    assert max(seen) <= cap
    assert "is left" in built.why
    again = await run(tmp_path, teacher(), dollars=cap)
    assert (again.ending, again.progress.kept) == ("dollars", 0)
    assert (await run(tmp_path, teacher(), dollars=10 * cap)).ending == "done"
    assert sql(tmp_path, "SELECT SUM(price), SUM(lost) FROM attempts") == [(total, 0)]
    assert len(rows(tmp_path)) == 20


async def test_a_request_that_was_sent_and_never_answered_counts_at_its_worst(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin(lesson(1))
        ledger.ask("k", "q1", "teacher", "", 700)
    with opened(tmp_path) as ledger:
        assert ledger.spent() == ledger.lost() == 700
        ledger.ask("k", "q1", "teacher", "", 500)
        assert ledger.spent() == 1200


async def test_a_server_that_reports_no_tokens_costs_the_worst(tmp_path: Path) -> None:
    silent = teacher(lambda request: Completion(Piece(text=staged(number_in(request))), Finish.STOP, 0))
    await run(tmp_path, silent, [lesson(1)])
    assert sql(tmp_path, "SELECT price = reserved AND price > 0 FROM attempts") == [(1,)]


async def test_a_cap_without_prices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs prices"):
        await run(tmp_path, teacher(), plan=recipe(prices=Prices()), dollars=1)


def test_prices_are_exact_and_rounded_up() -> None:
    assert Prices(input=2.5, output=10.0).price(1000, 0, 100) == 3500 * 10**6
    assert Prices(input=0.15).price(1, 0, 0) == 150_000
    assert Prices(input=1.0, cached=0.5).price(10, 10, 0) == 15 * 10**6
    assert Prices(input=1.0).price(10, 10, 0) == 20 * 10**6
    assert Prices(input=1e-7).price(1, 0, 0) == 1


def test_the_worst_price_covers_bytes_pictures_and_the_longest_reply() -> None:
    request = SampleRequest((Turn("user", "\u00e9" * 50, (Path("a"), Path("b"))),), (0,), max_tokens=1000)
    assert PRICES.worst(request) >= (100 + 200) * 10**6 + 2 * 1000 * 10**6


async def test_a_purse_waits_for_others_before_it_gives_up() -> None:
    purse = Purse(limit=100)
    first = await purse.reserve(80)
    waiting = asyncio.create_task(purse.reserve(50))
    await asyncio.sleep(0)
    assert not waiting.done()
    await purse.settle(first, 30)
    assert await waiting == 50
    await purse.settle(50, 50)
    with pytest.raises(CapReachedError):
        await purse.reserve(21)
    assert await purse.reserve(20) == 20
    assert purse.most_at_risk <= 100


async def test_a_reply_dearer_than_reserved_makes_later_reservations_grow() -> None:
    purse = Purse(limit=10**6)
    await purse.settle(await purse.reserve(100), 150)
    assert await purse.reserve(100) == 150


# The ledger itself.


def test_a_ledger_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(InputError, match="with other teaching"):
        opened(tmp_path, recipe(teaching={"tries": 9}))
    with pytest.raises(InputError, match="with other teacher"):
        opened(tmp_path, engine="another")
    opened(tmp_path, recipe(9, prices=Prices())).close()  # neither could change a row


def test_a_ledger_of_another_schema_or_none_at_all_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    sql(tmp_path, "UPDATE run SET value = '99' WHERE key = 'schema'")
    with pytest.raises(InputError, match="schema 99"):
        opened(tmp_path)
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / LEDGER).write_bytes(b"something else, and long enough to be looked at" * 30)
    with pytest.raises(InputError, match="is no ledger"):
        opened(tmp_path / "no")
    (tmp_path / "other").mkdir()
    sql(tmp_path / "other", "CREATE TABLE x (y)")
    with pytest.raises(InputError, match="some other database"):
        opened(tmp_path / "other")


def test_two_runs_cannot_share_a_ledger(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(InputError, match="in use"):
        opened(tmp_path)


async def test_ids_and_turns_must_be_their_own(tmp_path: Path) -> None:
    twice = [lesson(1), Lesson(2, lesson(1).question, "1", "q1")]
    with pytest.raises(InputError, match="id q1 belongs to another"):
        await run(tmp_path / "a", teacher(), twice)
    rowed = [lesson(1, meta={"row": "r"}), lesson(2, meta={"row": "r"})]
    with pytest.raises(InputError, match="turn 0 of row r"):
        await run(tmp_path / "b", teacher(), rowed)
    await run(tmp_path / "c", teacher(), [lesson(1)])
    with pytest.raises(InputError, match="id q1 belongs to another"):
        await run(tmp_path / "c", teacher(), [lesson(1, answer="2")])


async def test_a_settled_question_is_settled(tmp_path: Path) -> None:
    await run(tmp_path, teacher(), [lesson(1)])
    with opened(tmp_path) as ledger:
        ledger.fail("q1", "late")
        assert ledger.states() == {"kept": 1}


class Odd(Failing):
    """Sends halves of characters, as a server's JSON may."""

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        text = staged("1").replace("look", "lo\ud800ok \U0001f600 \0")
        return SampleResult((Completion(Piece(text=text), Finish.STOP, 9),), computed=9)


async def test_halves_of_characters_do_not_stop_a_run(tmp_path: Path) -> None:
    await run(tmp_path, Odd({}), [lesson(1)])
    (row,) = rows(tmp_path)
    said = row["conversations"]
    assert isinstance(said, list)
    assert "lo\ufffdok \U0001f600 \0" in said[1]["value"]


async def test_counts_by_reason_and_source(tmp_path: Path) -> None:
    wrong = teacher(lambda request: staged("0"))
    await run(tmp_path, wrong, LESSONS[:3])
    with opened(tmp_path) as ledger:
        assert ledger.reasons() == {"disagrees": 2}
        assert ledger.outcomes() == {"test": {"kept": 1, "disagrees": 2}}
        assert ledger.rows_by_source() == {"test": 1}
        assert (ledger.state("q0"), ledger.state("q1"), ledger.state("q9")) == ("kept", "rejected", None)
        assert ledger.totals()["replies"] == 3
    assert isinstance(wrong, ScriptedEngine)
