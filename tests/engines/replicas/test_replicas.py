"""Copies of a model in processes of their own: they answer as one does, and end with whoever started them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.engines.transformers.tiny import make_tiny

from stepsight.assembly import LoadedModel, ModelChoice
from stepsight.engines.replicas import ReplicatedEngine
from stepsight.engines.transformers import TransformersEngine
from stepsight.errors import EngineError, InputError, ModelError, PictureError
from stepsight.model_folders import ModelCard, resolve_model
from stepsight.protocols import SampleRequest, ScoreRequest, Turn
from stepsight.reward_models import reward_judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny model."""
    path = tmp_path_factory.mktemp("tiny")
    tiny = make_tiny("llava")
    tiny.model.save_pretrained(path)
    tiny.processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Turn, ...]]:
    """Questions about pictures of noise."""
    path, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    for number in range(4):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path / f"{number}.png")
    return [(Turn("user", f"What is in picture {n}?", (path / f"{n}.png",)),) for n in range(4)]


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[ReplicatedEngine]:
    with ReplicatedEngine.load(folder, 2, threads=2, name="tiny", device="cpu", dtype="float32") as made:
        yield made


def running(pids: tuple[int, ...]) -> list[int]:
    """Those that have not ended; zombies have."""
    states = {}
    for pid in pids:
        try:
            states[pid] = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            continue
    return [pid for pid, state in states.items() if state != "Z"]


def ended(pids: tuple[int, ...], within: float = 20.0) -> bool:
    until = time.monotonic() + within
    while running(pids) and time.monotonic() < until:
        time.sleep(0.05)
    return not running(pids)


async def test_they_answer_as_one_does(engine: ReplicatedEngine, folder: Path, turns: list[tuple[Turn, ...]]) -> None:
    requests = [SampleRequest(one, seeds=(1, 2), max_tokens=12, temperature=1.0) for one in turns]
    asked = [[ScoreRequest(one, ("a", "b")) for one in turns[:2]], [ScoreRequest(turns[3], (" yes", " no"))]]
    told: list[tuple[int, str]] = []
    samples = asyncio.gather(
        *(engine.sample(one, on_text=lambda slot, text: told.append((slot, text))) for one in requests)
    )
    scores = asyncio.gather(*(engine.score(some) for some in asked))
    sampled, scored = await samples, await scores
    with TransformersEngine.load(folder, name="tiny", device="cpu", dtype="float32") as alone:
        assert (engine.name, engine.capabilities) == (alone.name, alone.capabilities)
        for request, result in zip(requests, sampled, strict=True):
            expected = await alone.sample(request)
            assert [one.piece for one in result.completions] == [one.piece for one in expected.completions]
        for some, results in zip(asked, scored, strict=True):
            for one, other in zip(results, await alone.score(some), strict=True):
                assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    written = [completion.piece.text for result in sampled for completion in result.completions]
    assert sorted(text for _, text in told if text) != []
    assert sum(len(text) for _, text in told) == sum(map(len, written))
    assert await engine.score([]) == []
    assert (await engine.sample(SampleRequest(turns[0], seeds=()))).completions == ()


async def test_an_error_arrives_as_what_it_is(engine: ReplicatedEngine, turns: list[tuple[Turn, ...]]) -> None:
    missing = (Turn("user", "What?", (Path("/no/such.png"),)),)
    with pytest.raises(PictureError, match=r"no/such\.png"):
        await engine.sample(SampleRequest(missing, seeds=(1,)))
    with pytest.raises(InputError, match="none may be empty"):
        await engine.score([ScoreRequest(turns[0], ())])


async def test_a_request_that_nobody_waits_for_leaves_its_rows(
    engine: ReplicatedEngine, turns: list[tuple[Turn, ...]]
) -> None:
    long, short = (SampleRequest(turns[0], seeds=tuple(range(8)), max_tokens=tokens) for tokens in (400, 3))
    task = asyncio.create_task(engine.sample(long))
    while not engine._crew._pending:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine._crew._homes.loads == [0, 0]
    assert not engine._crew._pending
    assert len((await asyncio.wait_for(engine.sample(short), 20)).completions) == 8
    assert engine._crew._homes.loads == [0, 0]


async def test_a_replica_that_is_killed_fails_what_it_had_and_says_so(
    folder: Path, turns: list[tuple[Turn, ...]]
) -> None:
    engine = ReplicatedEngine.load(folder, 2, threads=2, device="cpu", dtype="float32")
    try:
        work = [
            asyncio.create_task(engine.sample(SampleRequest(one, seeds=(1, 2), max_tokens=400, temperature=1.0)))
            for one in turns[:2]
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        os.kill(engine.pids[0], signal.SIGKILL)
        first, second = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 20)
        assert isinstance(first, EngineError)
        assert "replica 0 was ended by signal 9" in str(first)
        # The other has lost nothing.
        assert not isinstance(second, BaseException)
        with pytest.raises(EngineError, match="replica 0"):
            await engine.sample(SampleRequest(turns[0], seeds=(1,), max_tokens=2))
    finally:
        pids = engine.pids
        started = time.monotonic()
        engine.close()
    assert ended(pids)
    # They were asked to end, and did; nobody had to be killed.
    assert time.monotonic() - started < 4
    with pytest.raises(EngineError):
        await engine.sample(SampleRequest(turns[1], seeds=(1,), max_tokens=2))


def test_an_engine_that_nobody_holds_takes_its_processes_along(folder: Path) -> None:
    engine = ReplicatedEngine.load(folder, 1, device="cpu", dtype="float32")
    pids = engine.pids
    assert running(pids) == list(pids)
    del engine
    gc.collect()
    assert ended(pids, within=4)


def test_what_cannot_be_loaded_is_told_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        ReplicatedEngine.load(tmp_path / "nothing", 2, threads=2)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children if Path(f"/proc/{pid}").exists()]
    assert not any(str(tmp_path) in command for command in commands)
    with pytest.raises(InputError, match="exclude each other"):
        ModelChoice("pico", replicas=2, device_map="auto")
    with pytest.raises(InputError, match="at least one replica"):
        ModelChoice("pico", replicas=0)


STARTS = """
import sys, time
from stepsight.engines.replicas import ReplicatedEngine
engine = ReplicatedEngine.load(sys.argv[1], 2, threads=2, device="cpu", dtype="float32")
print(*engine.pids, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_they_end_with_whoever_started_them(folder: Path, how: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    with starter:
        pids = tuple(map(int, starter.stdout.readline().split()))
        assert len(pids) == 2
        assert running(pids) == list(pids)
        if how is signal.SIGINT:
            # As Ctrl-C does it: to all processes of the terminal.
            os.killpg(starter.pid, how)
        else:
            starter.kill()
    assert ended(pids)


async def test_a_reward_model_runs_in_the_same_processes(turns: list[tuple[Turn, ...]]) -> None:
    """pico's own, as what differs from pico; its values are those it has in this process."""
    from stepsight.assembly import load_model

    choice = ModelChoice("pico", replicas=2, threads=2, device="cpu")
    replicated = load_model(choice)
    assert isinstance(replicated.engine, ReplicatedEngine)
    judge = reward_judge(replicated)
    request = [ScoreRequest(one, (" yes", " no")) for one in turns]
    values = await judge.model.engine.score(request)  # type: ignore[attr-defined]  # a WordsReward
    plain = await replicated.engine.score(request)
    with TransformersEngine.load(resolve_model("pico"), device="cpu") as alone:
        beside = reward_judge(LoadedModel(alone, ModelCard(name="pico", reward="reward"), choice=ModelChoice("pico")))
        expected = await beside.model.engine.score(request)  # type: ignore[attr-defined]  # a WordsReward
    for one, other, base in zip(values, expected, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.logprobs != pytest.approx(base.logprobs, abs=1e-2)
    replicated.engine.close()
