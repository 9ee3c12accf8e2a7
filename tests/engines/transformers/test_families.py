"""What single families do otherwise, beside the exactness that all of them are tested for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.engines.transformers.tiny import Tiny, fill, filler_of

from stepsight.engines.transformers.families.gemma import blocks_of
from stepsight.engines.transformers.families.mllama import looked_at
from stepsight.engines.transformers.prompts import Prompt
from stepsight.protocols import SampleRequest, ScoreRequest, Turn
from stepsight.records import Piece

Build = Callable[[str], Tiny]


def prompt_of(places: list[int], length: int) -> Prompt:
    ids = np.zeros(length, dtype=np.int64)
    return Prompt(ids, ids, (), np.array(places, dtype=np.int64))


@pytest.mark.parametrize("family", ["qwen2.5-vl", "qwen3-vl"])
def test_positions_are_those_of_the_library(build: Build, family: str, pictures: list[Path]) -> None:
    tiny = build(family)
    _, encoder = filler_of(tiny)
    for shown in ((pictures[2],), (pictures[3], pictures[2]), (pictures[0], pictures[3], pictures[2])):
        turns = (
            Turn("system", "Be brief."),
            Turn("user", "What differs?", shown),
            Turn("assistant", "All."),
            Turn("user", "Sure?"),
        )
        inputs = tiny.inputs(turns)
        expected, deltas = tiny.model.model.get_rope_index(
            inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"]
        )
        prompt = encoder.encode(turns)
        assert prompt.positions is not None
        assert prompt.positions.tolist() == expected[:, 0].tolist()
        assert int(prompt.positions.max()) + 1 - len(prompt) == int(deltas)


async def test_a_search_between_two_steps_of_another_does_not_move_its_positions(
    build: Build, pictures: list[Path], tmp_path: Path
) -> None:
    # The library keeps the distance between length and position on the module; a wide picture has another than a tall.
    tiny = build("qwen2.5-vl")
    wide = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (8, 80, 3), dtype=np.uint8)).save(wide)
    turns = (Turn("user", "What?", (pictures[3],)),)
    other = (Turn("user", "What?", (wide,)),)
    with tiny.engine() as engine:
        alone = await engine.sample(SampleRequest(turns, seeds=(0,), max_tokens=20, temperature=0.0))
    with tiny.engine() as engine:
        long = asyncio.ensure_future(engine.sample(SampleRequest(turns, seeds=(0,), max_tokens=20, temperature=0.0)))
        for _ in range(5):
            await engine.sample(SampleRequest(other, seeds=(1,), max_tokens=1))
        assert (await long).completions[0].piece == alone.completions[0].piece


def test_two_threads_with_their_own_loops_share_one_engine(tiny: Tiny, pictures: list[Path]) -> None:
    requests = [
        SampleRequest((Turn("user", text, (path,)),), seeds=(seed,), max_tokens=12)
        for seed, (text, path) in enumerate([("What?", pictures[2]), ("Which one is it?", pictures[3])])
    ]
    with tiny.engine() as engine:
        expected = [asyncio.run(engine.sample(request)).completions for request in requests]
    with tiny.engine() as engine:
        found: dict[int, list[Any]] = {0: [], 1: []}

        def ask(which: int) -> None:
            found[which] = [asyncio.run(engine.sample(requests[which])).completions for _ in range(4)]

        threads = [threading.Thread(target=ask, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for which in (0, 1):
        assert [[one.piece for one in each] for each in found[which]] == [[one.piece for one in expected[which]]] * 4


@given(st.lists(st.booleans(), max_size=40))
def test_blocks_are_unbroken_runs(picture: list[bool]) -> None:
    blocks = blocks_of(prompt_of([place for place, one in enumerate(picture) if one], len(picture))).tolist()
    assert [block >= 0 for block in blocks] == picture
    for before, after, one, next_one in zip(blocks, blocks[1:], picture, picture[1:], strict=False):
        if one and next_one:
            assert before == after
    starts = [place for place, one in enumerate(picture) if one and not (place and picture[place - 1])]
    assert [blocks[place] for place in starts] == list(range(len(starts)))


async def test_a_prompt_that_shares_half_a_picture_is_filled_from_its_start(build: Build, pictures: list[Path]) -> None:
    tiny = build("gemma3")
    filler, encoder = filler_of(tiny)
    turns = (Turn("user", "What is it?", (pictures[0],)),)
    prompt = encoder.encode(turns)
    with torch.inference_mode():
        [filled] = fill(filler, [prompt])
        inside = int(prompt.places[2])
        # As if only half of the picture were kept.
        filler.store.clear()
        filler.store.insert(prompt.keys[:inside], lambda start, end: filled.parts[0][:, :, :, start:end].clone())
        [again] = fill(filler, [prompt])
    assert again.cached == int(prompt.places[0])
    assert torch.allclose(again.logits, filled.logits, atol=1e-5)


@given(st.lists(st.integers(0, 30), unique=True, max_size=6))
def test_a_picture_is_looked_at_up_to_the_next_and_neighbours_together(places: list[int]) -> None:
    from transformers.models.mllama.processing_mllama import get_cross_attention_token_mask

    places = sorted(places)
    length = 40
    ids = [7 if place in places else 1 for place in range(length)]
    expected = [
        (first, length if end in (-1, length) else end) for first, end in get_cross_attention_token_mask(ids, 7)
    ]
    assert [(first, min(end, length)) for first, end in looked_at(prompt_of(places, length))] == expected


async def test_text_before_a_picture_depends_on_it_where_the_family_says_so(build: Build, pictures: list[Path]) -> None:
    # Nothing may be shared between two pictures, not even what stands before them.
    tiny = build("mllama")
    with tiny.engine() as engine:
        for path in pictures[:2]:
            turns = (Turn("system", "A long instruction that comes first."), Turn("user", "What?", (path,)))
            [result] = await engine.score([ScoreRequest(turns, ("a", "b"))])
            assert result.cached == 0
        [again] = await engine.score([ScoreRequest(turns, ("a", "b"), prefix=(Piece(text="So"),))])
        assert again.cached > 10


async def test_a_picture_beside_others_looks_different_where_the_family_says_so(
    build: Build, pictures: list[Path]
) -> None:
    _, encoder = filler_of(build("llava-onevision"))
    [alone] = encoder.encode((Turn("user", "What?", (pictures[3],)),)).pictures
    both = encoder.encode((Turn("user", "What?", (pictures[3], pictures[3])),)).pictures
    assert both[0] is both[1]
    assert alone.tokens > both[0].tokens
    assert alone.digest != both[0].digest
