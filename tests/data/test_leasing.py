"""Leases: workers may be lost at any moment; no row is, none is doubled, nothing received is paid for twice."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from tests.data.leases import NearWorker, Pool
from tests.data.lessons import lesson, number_in, staged, teacher
from tests.data.test_building import LESSONS, PRICES, recipe, rows, run, sql

from stepsight.data.leasing import LOSSES, LeasingEngine, WorkerLostError
from stepsight.errors import EngineError, InputError, MissingExtraError, PictureError, StepsightError
from stepsight.protocols import Completion, OnText, SampleRequest, SampleResult, ScoreRequest, ScoreResult, Turn
from stepsight.records import Finish, Piece

REQUEST = SampleRequest((Turn("user", "Which number has q1?"),), (0,))


async def built_with(folder: Path, pool: Pool, places: int = 3, **how: object) -> object:
    async with pool.leased(places) as engine:
        return await run(folder, engine, **how)  # type: ignore[arg-type]


async def test_a_build_through_workers_is_that_of_one_process(tmp_path: Path) -> None:
    odd = Completion(Piece(text="I cannot"), Finish.ERROR, 3, None, "content_filter")

    def say(request: SampleRequest) -> str | Completion:
        return odd if number_in(request) == "7" else staged("99" if number_in(request) == "3" else number_in(request))

    await run(tmp_path / "one", teacher(say))
    pool = Pool(teacher(say, yields=3))
    await built_with(tmp_path / "many", pool)
    for name in ("train.jsonl", "rejects.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    assert [worker.where for worker in pool.started] == ["node0", "node1", "node2"]
    assert all(worker.calls and worker.ended for worker in pool.started)
    # And the one goes on from the other: the ledger asks for nothing.
    again = Pool(teacher())
    await built_with(tmp_path / "one", again)
    assert [worker.calls for worker in again.started] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(20))
async def test_workers_lost_at_random_lose_and_double_nothing(seed: int, tmp_path: Path) -> None:
    """A third of all requests is held by a worker when it dies; some of them were answered."""
    rng = random.Random(seed)
    lost: dict[str, int] = {}
    replied: dict[str, int] = {}

    def say(request: SampleRequest) -> str:
        number = number_in(request)
        replied[number] = replied.get(number, 0) + 1
        if rng.random() < 0.3 and lost.get(number, 0) < 2:
            worker = rng.choice(pool.started)
            worker.die()
            lost[number] = lost.get(number, 0) + 1
        return staged(number)

    pool = Pool(teacher(say, yields=rng.randrange(6)))
    while not (tmp_path / "train.jsonl").exists() or len(rows(tmp_path)) < len(LESSONS):
        await built_with(tmp_path, pool)
    assert [row["id"] for row in rows(tmp_path)] == [one.question.id for one in LESSONS]
    assert len(pool.started) > 3
    # Every reply is kept or counted as perhaps billed: what was sent is what the ledger knows to have been sent.
    assert sql(tmp_path, "SELECT COUNT(*), SUM(state = 'replied') FROM attempts") == [(20, 20)]
    ((sent, failed),) = sql(tmp_path, "SELECT SUM(sent), (SELECT COUNT(*) FROM failures) FROM attempts")
    assert isinstance(sent, int)
    assert isinstance(failed, int)
    assert sent == 20 + failed >= sum(replied.values())
    assert sql(tmp_path, "SELECT MIN(lost > 0) FROM failures") == [(1,)]


async def test_what_was_received_before_a_worker_was_lost_is_not_asked_for_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def say(request: SampleRequest) -> str:
        asked.append("judge" if "Other answer:" in request.turns[0].text else "teacher")
        if asked == ["teacher", "judge"]:
            max(pool.started, key=lambda worker: worker.calls).die()
        return "same" if asked[-1] == "judge" else staged("that one")

    pool = Pool(teacher(say, yields=1))
    await built_with(tmp_path, pool, lessons=[lesson(1)])
    assert asked == ["teacher", "judge", "judge"]
    assert len(rows(tmp_path)) == 1


async def test_the_cap_holds_when_workers_are_lost(tmp_path: Path) -> None:
    worst = PRICES.worst(REQUEST) + 10**9
    cap, seen = 12 * worst, []

    def say(request: SampleRequest) -> str:
        pool.started[-1].die()
        return staged(number_in(request))

    pool = Pool(teacher(say, yields=2))
    await built_with(tmp_path, pool, dollars=cap, progress=lambda now: seen.append(now.spent))
    ((spent, lost),) = sql(tmp_path, "SELECT SUM(price + lost), SUM(lost) FROM attempts")
    assert isinstance(spent, int)
    assert lost
    assert max(*seen, spent) <= cap


async def test_a_question_over_which_workers_are_lost_again_and_again_is_left_for_the_next_start(
    tmp_path: Path,
) -> None:
    def say(request: SampleRequest) -> str:
        if number_in(request) == "2":
            pool.started[-1].die()
        return staged(number_in(request))

    pool = Pool(teacher(say, yields=2))
    await built_with(tmp_path, pool, places=1, plan=recipe(1))
    assert sql(tmp_path, "SELECT id FROM questions WHERE state = 'failed'") == [("q2",)]
    assert sql(tmp_path, "SELECT sent, lost >= 3 * reserved FROM attempts WHERE question = 'q2'") == [(3, 1)]
    assert len(rows(tmp_path)) == 19
    await built_with(tmp_path, Pool(teacher()))
    assert len(rows(tmp_path)) == 20


async def test_workers_that_are_lost_as_soon_as_they_start_end_the_run(tmp_path: Path) -> None:
    def fails(place: int, count: int) -> None:
        raise WorkerLostError("no memory")

    with pytest.raises(EngineError, match=f"{2 * LOSSES} workers were lost and none has replied: no memory"):
        await built_with(tmp_path, Pool(teacher(), fails), places=2)
    with pytest.raises(InputError, match="no key there"):
        await built_with(tmp_path, Pool(teacher(), lambda place, count: raised(InputError("no key there"))), places=2)


def raised(error: Exception) -> None:
    raise error


async def test_without_any_worker_the_run_ends_after_a_while(tmp_path: Path) -> None:
    async def start(place: int) -> NearWorker:
        await asyncio.Event().wait()
        raise AssertionError

    async with LeasingEngine("scripted", teacher().capabilities, start, 2, patience=0.01) as engine:
        with pytest.raises(EngineError, match="no worker"):
            await engine.sample(REQUEST)


async def test_requests_go_to_the_least_busy_worker_and_lost_ones_are_replaced() -> None:
    pool = Pool(teacher(yields=10))
    async with pool.leased(3) as engine:
        await asyncio.gather(*(engine.sample(REQUEST) for _ in range(9)))
        assert {worker.calls for worker in pool.started[1:]} <= {3, 4}
        dead = pool.started[0]
        dead.die()
        for _ in range(4):
            try:
                await engine.sample(REQUEST)
            except WorkerLostError:
                break
        await engine.sample(REQUEST)
        assert (len(pool.started), dead.ended, engine.losses) == (4, True, 1)


async def test_a_worker_that_dies_idle_is_replaced_before_it_is_asked() -> None:
    pool = Pool(teacher())
    async with pool.leased(1) as engine:
        await engine.sample(REQUEST)
        pool.started[0].die()
        await asyncio.sleep(0.01)
        await engine.sample(REQUEST)
    assert [worker.calls for worker in pool.started] == [1, 1]


async def test_text_is_told_once_when_it_is_whole_and_nothing_is_scored() -> None:
    told: list[tuple[int, str]] = []
    async with Pool(teacher()).leased(1) as engine:
        await engine.sample(REQUEST, lambda slot, text: told.append((slot, text)))
        with pytest.raises(NotImplementedError):
            await engine.score([])
    assert told == [(0, staged("1"))]


# Sending again.


class Again:
    """Sends some requests again, as an engine for servers does, and heeds the meter."""

    def __init__(self, times: int) -> None:
        self.inner = teacher()
        self.name, self.capabilities, self.times = self.inner.name, self.inner.capabilities, times

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        assert request.meter is not None
        for number in range(self.times):
            await request.meter.failed(f"busy {number}", billed=number == 0)
            if not await request.meter.again():
                raise EngineError("busy", retryable=True)
        return await self.inner.sample(request, on_text)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        raise NotImplementedError


async def test_what_an_engine_sends_again_is_allowed_paid_and_kept_here(tmp_path: Path) -> None:
    await built_with(tmp_path, Pool(Again(2)), lessons=LESSONS[:3])
    assert sql(tmp_path, "SELECT sent, lost > 0 FROM attempts") == [(3, 1)] * 3
    assert sql(tmp_path, "SELECT reason, lost > 0 FROM failures WHERE key = (SELECT MIN(key) FROM failures)") == [
        ("busy 0", 1),
        ("busy 1", 0),
    ]
    assert len(rows(tmp_path)) == 3


async def test_what_is_not_allowed_is_not_sent_again() -> None:
    class Strict:
        async def failed(self, why: str, *, billed: bool) -> None:
            heard.append(why)

        async def again(self) -> bool:
            return len(heard) < 2

    heard: list[str] = []
    async with Pool(Again(5)).leased(1) as engine:
        with pytest.raises(EngineError, match="busy"):
            await engine.sample(SampleRequest(REQUEST.turns, (0,), meter=Strict()))
        assert heard == ["busy 0", "busy 1"]
        # Without a meter nobody objects.
        await engine.sample(REQUEST)


async def test_cancelling_reaches_the_engine() -> None:
    class Slow(Again):
        async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                left.set()
                raise
            raise AssertionError

    left = asyncio.Event()
    async with Pool(Slow(0)).leased(1) as engine:
        asked = asyncio.create_task(engine.sample(REQUEST))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait_for(left.wait(), 5)


# Pictures.


class Blind(Again):
    """Runs on a machine that does not see a certain folder."""

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        (path,) = request.turns[0].images
        assert path.is_absolute()
        if path.parent.name == "here":
            raise PictureError(f"{path} cannot be read")
        return await super().sample(request, on_text)


async def test_a_picture_that_only_a_worker_cannot_read_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "here" / "a.png")
    with pytest.raises(InputError, match="node0 cannot read a picture that can be read here") as caught:
        await built_with(tmp_path / "out", Pool(Blind(0)), lessons=[lesson(1, images=("here/a.png",))], places=1)
    assert not isinstance(caught.value, PictureError)
    assert "same path" in caught.value.hint
    # One that nobody can read is rejected, in the words of one process.
    await built_with(tmp_path / "none", Pool(Blind(0)), lessons=[lesson(1, images=("here/b.png",))], places=1)
    (row,) = rows(tmp_path / "none", "rejects.jsonl")
    assert row["reason"] == "picture"
    assert "no file here/b.png" in str(row["detail"])


@pytest.mark.parametrize(
    "error", [MissingExtraError("torch", "local"), WorkerLostError("gone"), PictureError("no", hint="look")]
)
def test_errors_come_from_other_processes_as_they_were(error: StepsightError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.hint, again.retryable) == (
        type(error),
        error.args,
        error.hint,
        error.retryable,
    )
