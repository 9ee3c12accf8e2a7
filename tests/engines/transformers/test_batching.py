"""Many tasks at once: rows do not disturb each other, leave alone, and may be dropped."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.engines.transformers.test_exactness import conversations
from tests.engines.transformers.tiny import Tiny

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.forward import Runner
from stepsight.errors import EngineError, InputError
from stepsight.protocols import SampleRequest, SampleResult, ScoreRequest, Turn
from stepsight.records import Piece


def texts(result: SampleResult) -> list[str]:
    return [completion.piece.text for completion in result.completions]


def requests_of(pictures: list[Path]) -> list[SampleRequest]:
    """Requests that differ in everything: prompt, length, temperature, nucleus, number of seeds."""
    return [
        SampleRequest(
            turns,
            seeds=tuple(range(10 * n, 10 * n + 1 + n % 3)),
            max_tokens=6 + 5 * n,
            temperature=(0.0, 0.6, 1.0)[n % 3],
            top_p=(0.9, 1.0)[n % 2],
        )
        for n, turns in enumerate(conversations(pictures))
    ]


async def test_tokens_do_not_depend_on_the_other_rows(tiny: Tiny, shared_prefix: str, pictures: list[Path]) -> None:
    requests = requests_of(pictures)
    alone = []
    for request in requests:
        with tiny.engine(shared_prefix=shared_prefix) as engine:
            alone.append(await engine.sample(request))
    with tiny.engine(shared_prefix=shared_prefix) as engine:
        together = await asyncio.gather(*(engine.sample(request) for request in requests))
        again = await asyncio.gather(*(engine.sample(request) for request in reversed(requests)))
    with tiny.engine(max_rows=2, cache_gb=0.0, shared_prefix=shared_prefix) as engine:
        narrow = await asyncio.gather(*(engine.sample(request) for request in requests))
    for one, beside, later, cramped in zip(alone, together, reversed(again), narrow, strict=True):
        for other in (beside, later, cramped):
            assert [c.piece for c in one.completions] == [c.piece for c in other.completions]
            assert [c.finish for c in one.completions] == [c.finish for c in other.completions]


async def test_seeds_repeat_and_differ(llava_engine: TransformersEngine, pictures: list[Path]) -> None:
    turns = (Turn("user", "What?", (pictures[0],)),)
    result = await llava_engine.sample(SampleRequest(turns, seeds=(5, 6, 5, 7), max_tokens=12, temperature=1.0))
    first, second, third, fourth = texts(result)
    assert first == third
    assert len({first, second, fourth}) == 3
    greedy = await llava_engine.sample(SampleRequest(turns, seeds=(5, 6), max_tokens=12, temperature=0.0))
    assert len(set(texts(greedy))) == 1


async def test_requests_of_one_turn_of_the_loop_share_their_prompt(
    llava_engine: TransformersEngine, pictures: list[Path]
) -> None:
    turns = (Turn("system", "Look well at what is there. " * 4), Turn("user", "What?", (pictures[0],)))
    requests = [SampleRequest(turns, seeds=(n,), prefix=(Piece(text=f"{n}"),), max_tokens=3) for n in range(4)]
    results = await asyncio.gather(*(llava_engine.sample(request) for request in requests))
    total = results[0].computed + results[0].cached
    assert [result.computed for result in results] == [total, 1, 1, 1]
    assert [result.cached for result in results] == [0, total - 1, total - 1, total - 1]


async def test_computed_and_cached_count_the_prompt_once_for_all_seeds(
    llava: Tiny, llava_engine: TransformersEngine, pictures: list[Path]
) -> None:
    turns = (Turn("user", "What is there?", (pictures[0],)),)
    size = llava.inputs(turns)["input_ids"].shape[1]
    first = await llava_engine.sample(SampleRequest(turns, seeds=(1, 2, 3, 4), max_tokens=4))
    assert (first.computed, first.cached) == (size, 0)
    again = await llava_engine.sample(SampleRequest(turns, seeds=(1,), max_tokens=4))
    assert (again.computed, again.cached) == (1, size - 1)
    # The winner is carried on: all but its last token, whose key-values nobody has computed yet.
    best = first.completions[2].piece
    assert best.ids is not None
    stage = await llava_engine.sample(SampleRequest(turns, seeds=(1,), prefix=(best,), max_tokens=4))
    assert (stage.computed, stage.cached) == (1, size + len(best.ids) - 1)
    judge = ScoreRequest((Turn("user", "What is there? Which is better?", (pictures[0],)),), ("1", "2"))
    [scored] = await llava_engine.score([judge])
    shared = len(llava.processor.tokenizer("What is there?", add_special_tokens=False)["input_ids"])
    assert scored.cached >= 16 + shared


async def test_without_cache_everything_is_computed_again(llava: Tiny, pictures: list[Path]) -> None:
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1,), max_tokens=4)
    with llava.engine(cache_gb=0.0) as engine:
        first, second = await engine.sample(request), await engine.sample(request)
    assert [one.piece for one in first.completions] == [one.piece for one in second.completions]
    assert first.computed == second.computed > 0
    assert first.cached == second.cached == 0


async def test_a_cancelled_task_takes_nobody_with_it(llava: Tiny, pictures: list[Path]) -> None:
    kept = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1, 2), max_tokens=60, temperature=1.0)
    dropped = SampleRequest((Turn("user", "Who?", (pictures[1],)),), seeds=tuple(range(6)), max_tokens=400)
    with llava.engine() as engine:
        expected = await engine.sample(kept)
    with llava.engine(max_rows=8) as engine:
        writing = asyncio.Event()
        loop = asyncio.get_running_loop()
        heard: list[str] = []

        def hear(slot: int, text: str) -> None:
            heard.append(text)
            loop.call_soon_threadsafe(writing.set)

        victim = asyncio.create_task(engine.sample(dropped, hear))
        survivor = asyncio.create_task(engine.sample(kept))
        waiting = asyncio.create_task(engine.sample(dropped))
        await writing.wait()
        victim.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await victim
        assert [c.piece for c in (await survivor).completions] == [c.piece for c in expected.completions]
        # Its rows are gone: the next request has the batch for itself.
        count = len(heard)
        await engine.sample(kept)
        assert len(heard) <= count + 6


async def test_a_faulty_request_fails_alone(llava_engine: TransformersEngine, pictures: list[Path]) -> None:
    good = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1,), max_tokens=4)
    bad = SampleRequest((Turn("user", "<image>"),), seeds=(1,), max_tokens=4)
    right, wrong = await asyncio.gather(llava_engine.sample(good), llava_engine.sample(bad), return_exceptions=True)
    assert isinstance(right, SampleResult)
    assert isinstance(wrong, InputError)

    def complain(slot: int, text: str) -> None:
        raise LookupError("the watcher fell asleep")

    watched, beside = await asyncio.gather(
        llava_engine.sample(good, complain), llava_engine.sample(good), return_exceptions=True
    )
    assert isinstance(watched, LookupError)
    assert isinstance(beside, SampleResult)


async def test_a_failing_model_is_an_engine_error_and_not_the_end(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1,), max_tokens=4)
    with llava.engine() as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "logits", lambda self, hidden: 1 / 0)
            with pytest.raises(EngineError, match="division by zero"):
                await engine.sample(request)
        assert len((await engine.sample(request)).completions) == 1


async def test_a_closed_engine_says_so(llava: Tiny, pictures: list[Path]) -> None:
    engine = llava.engine()
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1,), max_tokens=400)
    running = asyncio.create_task(engine.sample(request, lambda slot, text: None))
    await asyncio.sleep(0)
    await asyncio.to_thread(engine.close)
    with pytest.raises(EngineError, match="closed"):
        await running
    with pytest.raises(EngineError, match="closed"):
        await engine.sample(request)
    engine.close()


def test_two_engines_and_two_threads_do_not_disturb_each_other(llava: Tiny, pictures: list[Path]) -> None:
    requests = requests_of(pictures)

    async def run(engine: TransformersEngine) -> list[SampleResult]:
        return list(await asyncio.gather(*(engine.sample(request) for request in requests)))

    with llava.engine() as engine:
        expected = asyncio.run(run(engine))
    results: dict[str, list[SampleResult]] = {}
    with llava.engine() as shared, llava.engine() as own:
        jobs = {"a": shared, "b": shared, "c": own}
        threads = [
            threading.Thread(target=lambda key=key, used=used: results.update({key: asyncio.run(run(used))}))
            for key, used in jobs.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for key in jobs:
        assert [[c.piece for c in r.completions] for r in results[key]] == [
            [c.piece for c in r.completions] for r in expected
        ]


async def test_rows_that_have_written_the_same_run_as_one_and_part_where_they_differ(
    tiny: Tiny, shared_prefix: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = (Turn("user", "What is there?", (pictures[0],)),)
    seeds = tuple(range(8))
    options: dict[str, Any] = {"max_tokens": 24, "temperature": 0.3, "top_p": 0.9}
    with tiny.engine(shared_prefix=shared_prefix) as engine:
        alone = [(await engine.sample(SampleRequest(turns, seeds=(seed,), **options))).completions[0] for seed in seeds]
    run: list[int] = []
    step = Runner.step

    def noted(self: Runner, slots: Any, prompts: Any, tokens: list[list[int]], lengths: Any) -> Any:
        run.append(len(tokens))
        return step(self, slots, prompts, tokens, lengths)

    monkeypatch.setattr(Runner, "step", noted)
    with tiny.engine(shared_prefix=shared_prefix) as engine:
        together = (await engine.sample(SampleRequest(turns, seeds=seeds, **options))).completions
        assert [one.piece for one in together] == [one.piece for one in alone]
        assert [one.logprob for one in together] == pytest.approx([one.logprob for one in alone], abs=2e-3)
        # No step runs more than the texts that differ so far, the first none twice.
        histories = [one.piece.ids or () for one in alone]
        assert run[0] == len({ids[:1] for ids in histories})
        assert max(run) <= len(set(histories))
        run.clear()
        greedy = await engine.sample(SampleRequest(turns, seeds=seeds, max_tokens=12, temperature=0.0))
        assert len(set(texts(greedy))) == 1
        assert set(run) == {1}
