"""Prompts in pieces, and rows within bounds: nobody starves, nothing grows beyond its bound, no token changes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.test_exactness import close, conversations
from tests.engines.transformers.tiny import Tiny, filler_of

from stepsight.engines.transformers.batch import Batch
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.slots import Slots
from stepsight.protocols import SampleRequest, SampleResult, ScoreRequest, Turn


def test_prompts_filled_in_pieces_have_the_logits_of_a_full_forward(
    tiny: Tiny, shared_prefix: str, pictures: list[Path]
) -> None:
    filler, encoder = filler_of(tiny, share=shared_prefix == "on")
    every = conversations(pictures)
    long = (Turn("user", "Look. " * 40 + "What is there?", (pictures[3],)),)
    prompts = [encoder.encode(turns) for turns in (*every, long, long[:1])]
    with torch.inference_mode():
        pieces = list(filler.filling(prompts, piece=1))
        found = dict(pair for piece in pieces for pair in piece)
        again = list(filler.filling(prompts, piece=1))
    assert sorted(found) == list(range(len(prompts)))
    if filler.runner.family.pieces:
        # The long prompt alone takes more than one piece; what is known takes none of its own.
        assert len(pieces) > len(again)
        assert not all(pieces)
    for place, turns in enumerate((*every, long)):
        assert close(found[place].logits, tiny.logits(turns)[0])
    for piece in again:
        for place, one in piece:
            assert one.computed == 1
            assert close(one.logits, found[place].logits)


async def test_rows_that_decode_get_their_turn_between_pieces(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    run, step = Runner.run, Runner.step

    def noted_run(self: Runner, slots: Slots, suffixes: Any, *rest: Any, **options: Any) -> torch.Tensor:
        log.append(f"fill {sum(len(suffix) for suffix in suffixes)}")
        return run(self, slots, suffixes, *rest, **options)

    def noted_step(self: Runner, *arguments: Any) -> torch.Tensor:
        log.append("step")
        return step(self, *arguments)

    monkeypatch.setattr(Runner, "run", noted_run)
    monkeypatch.setattr(Runner, "step", noted_step)
    short = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(1, 2), max_tokens=60, temperature=1.0)
    long = ScoreRequest((Turn("user", "Look again. " * 30, (pictures[1],)),), ("1", "2"))
    with llava.engine(prefill_tokens=64) as engine:
        expected = await engine.score([long])
    log.clear()
    with llava.engine(prefill_tokens=64) as engine:
        decoding = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(slot: int, text: str) -> None:
            loop.call_soon_threadsafe(decoding.set)

        running = asyncio.create_task(engine.sample(short, heard))
        await decoding.wait()
        [scored] = await engine.score([long])
        await running
    assert scored.logprobs == pytest.approx(expected[0].logprobs, abs=1e-4)
    fills = [place for place, what in enumerate(log) if what.startswith("fill")]
    assert len(fills) > 4
    assert all(int(log[place].split()[1]) <= 64 for place in fills)
    # From the second on, each piece comes after a step of the rows that decode.
    assert all("step" in log[before:after] for before, after in pairwise(fills[1:]))


async def test_rows_that_outgrow_the_bound_wait_and_go_on(
    tiny: Tiny, shared_prefix: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody ends before the limit.
    monkeypatch.setattr(tiny.model.generation_config, "eos_token_id", [])
    requests = [
        SampleRequest(turns, seeds=(n, n + 1, n + 2), max_tokens=90, temperature=1.0)
        for n, turns in enumerate(conversations(pictures)[2:5])
    ]

    async def answers(**options: Any) -> list[SampleResult]:
        with tiny.engine(shared_prefix=shared_prefix, **options) as engine:
            return list(await asyncio.gather(*(engine.sample(request) for request in requests)))

    expected = await answers()
    back: list[int] = []
    needs: list[int] = []
    rejoin, step = Batch.rejoin, Runner.step

    def noted_rejoin(self: Batch, row: Any, filled: Any) -> None:
        back.append(len(row.ids))
        rejoin(self, row, filled)

    def noted_step(self: Runner, slots: Slots, prompts: Any, tokens: Any, lengths: list[int]) -> torch.Tensor:
        if len(lengths) > 1:
            own = [length - slots.offset(row) for row, length in enumerate(lengths)]
            needs.append(slots.need(len(lengths), max(own) + 1))
        return step(self, slots, prompts, tokens, lengths)

    monkeypatch.setattr(Batch, "rejoin", noted_rejoin)
    monkeypatch.setattr(Runner, "step", noted_step)
    # So little that three rows may join, and must not all become as long as they would.
    filler, encoder = filler_of(tiny, share=shared_prefix == "on")
    longest = max(len(encoder.encode(request.turns)) for request in requests)
    bound = longest + 3 * 50 if filler.runner.share else 3 * (longest + 50)
    bound *= filler.runner.shape.token_bytes
    cramped = await answers(rows_gb=bound / 2**30)
    for one, other in zip(expected, cramped, strict=True):
        assert [c.piece for c in one.completions] == [c.piece for c in other.completions]
        for first, second in zip(one.completions, other.completions, strict=True):
            assert second.logprob == pytest.approx(first.logprob, abs=2e-3)
    assert needs
    assert max(needs) <= bound
    assert back
