"""The shared, batched path against the library's own `generate` and against fresh full forwards, per family."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import torch
from tests.engines.transformers.tiny import Tiny, fill, filler_of

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.slots import Slots
from stepsight.protocols import Completion, SampleRequest, ScoreRequest, Turn
from stepsight.records import Piece

LONG = "Look at the picture, then say what is in the other corner, in one word or in two. "


def conversations(pictures: list[Path]) -> list[tuple[Turn, ...]]:
    """Different questions about different pictures, and one without a picture, of different length."""
    return [
        (Turn("user", "What is there?", (pictures[0],)),),
        (Turn("user", "What is there?", (pictures[1],)),),
        (Turn("system", "Be brief."), Turn("user", LONG + "é日", (pictures[2],))),
        (Turn("user", LONG, (pictures[3],)), Turn("assistant", "A thing."), Turn("user", "And the other?")),
        (Turn("user", "Which differs?", (pictures[0], pictures[3])),),
        (Turn("user", "No picture at all."),),
    ]


def ids_of(completion: Completion) -> tuple[int, ...]:
    assert completion.piece.ids is not None
    return completion.piece.ids


def recomputed(tiny: Tiny, turns: tuple[Turn, ...], ids: tuple[int, ...], start: int = 0) -> float:
    """Log-probability of `ids[start:]` by one fresh full forward."""
    logprobs = tiny.logits(turns, ids).log_softmax(-1)
    return float(sum(logprobs[place, ids[place]] for place in range(start, len(ids))))


def comparable(tiny: Tiny, completion: Completion) -> bool:
    """Whether a full forward can follow: to the library a placeholder that was sampled is a picture not given."""
    whole = completion.tokens == len(ids_of(completion))
    return whole and tiny.model.config.image_token_id not in ids_of(completion)


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-4, rtol=1e-4)


async def test_greedy_tokens_are_those_of_generate(
    tiny: Tiny, engine: TransformersEngine, pictures: list[Path]
) -> None:
    for turns in conversations(pictures):
        expected = tiny.generate(turns, 24)
        request = SampleRequest(turns, seeds=(0,), max_tokens=24, temperature=0.0)
        completion = (await engine.sample(request)).completions[0]
        ends = expected[-1] == tiny.processor.tokenizer.eos_token_id
        assert ids_of(completion) == tuple(expected[: len(expected) - ends])


async def test_greedy_tokens_are_those_of_generate_in_one_mixed_batch(
    tiny: Tiny, engine: TransformersEngine, pictures: list[Path]
) -> None:
    every = conversations(pictures)
    requests = [SampleRequest(turns, seeds=(0,), max_tokens=12 + n, temperature=0.0) for n, turns in enumerate(every)]
    results = await asyncio.gather(*(engine.sample(request) for request in requests))
    for turns, request, result in zip(every, requests, results, strict=True):
        expected = [t for t in tiny.generate(turns, request.max_tokens) if t != tiny.processor.tokenizer.eos_token_id]
        assert list(ids_of(result.completions[0])) == expected


def test_filled_prompts_have_the_logits_of_a_full_forward(tiny: Tiny, shared_prefix: str, pictures: list[Path]) -> None:
    filler, encoder = filler_of(tiny, share=shared_prefix == "on")
    every = conversations(pictures)
    with torch.inference_mode():
        # Twice: first everything is computed, in a ragged batch, then all but the last token is reused.
        for turn in range(2):
            filled = fill(filler, [encoder.encode(turns) for turns in every])
            for turns, one in zip(every, filled, strict=True):
                assert close(one.logits, tiny.logits(turns)[0])
                assert (one.computed == 1) == bool(turn)


def test_branches_and_continued_stages_have_the_logits_of_a_full_forward(
    tiny: Tiny, shared_prefix: str, pictures: list[Path]
) -> None:
    filler, encoder = filler_of(tiny, share=shared_prefix == "on")
    turns = conversations(pictures)[2]
    dice = random.Random(4)
    branches = [tuple(dice.randrange(250) for _ in range(9)) for _ in range(5)]
    with torch.inference_mode():
        [prompt] = fill(filler, [encoder.encode(turns)])
        slots = Slots(filler.runner.shape)
        filler.stand(slots, [prompt] * len(branches))
        for place in range(9):
            tokens = [branch[place : place + 1] for branch in branches]
            logits = filler.runner.step(
                slots, [prompt.prompt] * len(branches), tokens, [len(prompt.prompt) + place] * len(branches)
            )
            for row, branch in enumerate(branches):
                assert close(logits[row], tiny.logits(turns, branch[: place + 1])[-1])
        # The next stage of each branch, one of them met before with another tail.
        pieces = [(Piece(text="", ids=branch), Piece(text="", ids=branch[:3] * 20)) for branch in branches]
        prompts = [encoder.encode(turns, pair) for pair in pieces]
        for one, branch in zip(fill(filler, prompts), branches, strict=True):
            assert one.cached >= len(prompt.prompt)
            assert close(one.logits, tiny.logits(turns, branch + branch[:3] * 20)[-1])
        cut = encoder.encode(turns, (Piece(text="", ids=branches[0] + branches[0][:3] * 7 + (1, 2)),))
        [one] = fill(filler, [cut])
        assert (one.computed, one.cached) == (2, len(cut) - 2)
        assert close(one.logits, tiny.logits(turns, branches[0] + branches[0][:3] * 7 + (1, 2))[-1])


async def test_logprobs_are_those_of_a_full_forward_after_branching_and_two_stages(
    tiny: Tiny, engine: TransformersEngine, pictures: list[Path]
) -> None:
    every = conversations(pictures)
    firsts = await asyncio.gather(
        *(engine.sample(SampleRequest(turns, seeds=(1, 2, 3), max_tokens=10 + n)) for n, turns in enumerate(every))
    )
    checked = 0
    for turns, result in zip(every, firsts, strict=True):
        for completion in result.completions:
            if comparable(tiny, completion):
                checked += 1
                assert completion.logprob == pytest.approx(recomputed(tiny, turns, ids_of(completion)), abs=2e-3)
    seconds = await asyncio.gather(
        *(
            engine.sample(
                SampleRequest(
                    turns, seeds=(4, 5), prefix=(result.completions[1].piece, Piece(text="\n\n")), max_tokens=8
                )
            )
            for turns, result in zip(every, firsts, strict=True)
        )
    )
    gap = tuple(tiny.processor.tokenizer("\n\n", add_special_tokens=False)["input_ids"])
    assert checked > len(every)
    for turns, first, second in zip(every, firsts, seconds, strict=True):
        before = ids_of(first.completions[1]) + gap
        assert second.cached > len(gap)
        assert second.computed <= len(gap) + 1
        for completion in second.completions:
            if comparable(tiny, first.completions[1]) and comparable(tiny, completion):
                fresh = recomputed(tiny, turns, before + ids_of(completion), start=len(before))
                assert completion.logprob == pytest.approx(fresh, abs=2e-3)


async def test_scores_are_those_of_a_full_forward(tiny: Tiny, engine: TransformersEngine, pictures: list[Path]) -> None:
    options = ("1", "2", "the answer is on", "<CONCLUSION>é")
    requests = [
        ScoreRequest(turns, options, prefix=(Piece(text="So "), Piece(text="far: ")))
        for turns in conversations(pictures)
    ]
    results = await engine.score(requests)
    again = await engine.score(requests)
    tokenizer = tiny.processor.tokenizer
    prefix = tuple(tokenizer("So far: ", add_special_tokens=False)["input_ids"])
    for request, result, repeated in zip(requests, results, again, strict=True):
        for text, logprob, same in zip(options, result.logprobs, repeated.logprobs, strict=True):
            ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
            fresh = recomputed(tiny, request.turns, prefix + ids, start=len(prefix))
            assert logprob == pytest.approx(fresh, abs=1e-3)
            assert same == pytest.approx(fresh, abs=1e-3)


async def test_two_pictures_under_one_text_are_told_apart(engine: TransformersEngine, pictures: list[Path]) -> None:
    # Same shape, same text, same placeholders; only the pixels differ.
    one, other = (ScoreRequest((Turn("user", "What?", (path,)),), ("1", "2", "3")) for path in pictures[:2])
    first = (await engine.score([one]))[0]
    second = (await engine.score([other]))[0]
    third = (await engine.score([one]))[0]
    assert max(abs(a - b) for a, b in zip(first.logprobs, second.logprobs, strict=True)) > 1e-3
    assert first.logprobs == pytest.approx(third.logprobs, abs=1e-5)
    assert third.computed == 1
