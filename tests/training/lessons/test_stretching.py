"""Rows with gaps between positions: the same tokens and labels, seen as if more stood between them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from stepsight.prompts.judge import judge_prompts
from stepsight.training.encoding.exchange import MOST_GAPS, WIDEST_GAP, Encoded, collate, encode_exchange, stretch
from stepsight.training.lessons.practice import Practice
from stepsight.training.losses import sft_loss
from stepsight.training.recipe.data import WorldLessons
from stepsight.world.lessons import draw_lesson

PICTURE = 9


def encoded(processor: Any, index: int) -> Encoded:
    lesson = draw_lesson("answer", seed=3, index=index, prompts=judge_prompts("short-2"))
    return encode_exchange(processor, lesson.user, lesson.picture, lesson.spans)


@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 40))
def test_positions_rise_by_one_but_for_a_few_gaps_behind_the_picture(seed: int, patches: int, text: int) -> None:
    ids = torch.tensor([1, 2, *[PICTURE] * patches, *range(20, 20 + text)])
    row = Encoded(ids, ids, torch.ones(len(ids)), pictured=2 + patches if patches else 0)
    found = stretch(row, random.Random(seed))
    assert found.positions is not None
    steps = found.positions.diff()
    assert found.positions[0] == 0
    assert bool((steps >= 1).all())
    assert int((steps > 1).sum()) <= MOST_GAPS
    assert int(found.positions[-1]) < len(ids) + MOST_GAPS * WIDEST_GAP
    # The picture and what stands before it are where they always are.
    if patches:
        assert found.positions[: 2 + patches].tolist() == list(range(2 + patches))
    assert torch.equal(found.ids, ids)


def test_a_gap_does_not_cut_a_row_in_two(processor: Any, model: Any) -> None:
    row = encoded(processor, 0)
    pad = processor.tokenizer.pad_token_id
    counted = torch.arange(len(row.ids))
    plain = replace(row, positions=counted)
    with torch.no_grad():
        expected = sft_loss(model, collate([row], pad))[0]
        assert torch.allclose(sft_loss(model, collate([plain], pad))[0], expected, atol=1e-6)
        wide = replace(row, positions=counted + 50 * (counted >= len(row.ids) - 2))
        other = replace(row, ids=row.ids.clone())
        other.ids[len(other.ids) // 2] = int(other.ids[-3])
        last = [
            model.model(**inputs(one, pad), use_cache=False).last_hidden_state[0, len(row.ids) - 1]
            for one in (plain, wide, replace(wide, ids=other.ids))
        ]
    # Distance matters, and what stands before the gap is still looked at.
    assert not torch.allclose(last[0], last[1], atol=1e-5)
    assert not torch.allclose(last[1], last[2], atol=1e-6)


def inputs(row: Encoded, pad: int) -> dict[str, torch.Tensor]:
    batch = collate([row], pad)
    return {name: value for name, value in batch.items() if name not in ("labels", "weights")}


def test_the_share_that_is_stretched_is_the_recipes(processor: Any) -> None:
    shares = []
    for stretched in (0.0, 0.5, 1.0):
        lessons = WorldLessons(mixture={"answer": 1.0}, seed=2, stretched=stretched)
        practice = Practice(lessons, processor, batch=8, length=64)
        rows = [practice[index] for index in range(64)]
        shares.append(sum(row.positions is not None for row in rows) / len(rows))
    assert shares[0] == 0
    assert 0.25 < shares[1] < 0.75
    assert shares[2] == 1


def test_rows_with_and_without_gaps_make_one_batch(processor: Any, model: Any) -> None:
    row = encoded(processor, 1)
    longer = stretch(encoded(processor, 2), random.Random(1))
    batch = collate([row, longer], processor.tokenizer.pad_token_id)
    assert batch["position_ids"].shape == batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["position_ids"][0].tolist() == list(range(batch["input_ids"].shape[1]))
    assert torch.isfinite(sft_loss(model, batch)[0])
