"""Rows are cut behind their picture and never inside it, and packed without loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepsight.errors import TooLongError
from stepsight.training.encoding.exchange import IGNORED, collate
from stepsight.training.losses import sft_loss
from stepsight.training.rows.packing import check_cut, cut, join, pack

from ..tiny_rows import PICTURES, encoded, tiny

FAMILIES = ("llava-siglip-llama", "qwen3-vl", "mllama", "gemma3")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_row_is_the_beginning_of_the_whole_one_and_works(family: str) -> None:
    made = tiny(family)
    row = encoded(made.processor, PICTURES[0])
    assert cut(row, len(row.ids)) is row
    size = len(row.ids) - 5
    shorter = cut(row, size)
    assert torch.equal(shorter.ids, row.ids[:size])
    assert torch.equal(shorter.labels, row.labels[:size])
    assert all(len(value) == size for value in shorter.of_tokens.values())
    batch = collate([shorter, encoded(made.processor, None)], int(made.processor.tokenizer.pad_token_id))
    assert torch.isfinite(sft_loss(made.model, batch)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_cut_falls_inside_a_picture_or_leaves_nothing_to_learn(family: str) -> None:
    made = tiny(family)
    row = encoded(made.processor, PICTURES[0])
    placeholder = made.processor.image_token_ids[0]
    shown = int((row.ids == placeholder).sum())
    first = int((row.labels != IGNORED).nonzero()[0])
    assert 0 < shown <= row.pictured <= first
    for context in range(1, len(row.ids)):
        if context <= first:
            reason = "picture ends" if context < row.pictured else "nothing is learned"
            with pytest.raises(TooLongError, match=reason):
                cut(row, context)
        else:
            assert int((cut(row, context).ids == placeholder).sum()) == shown
            check_cut(row.pictured, first, context)


def test_the_first_token_alone_is_nothing_to_learn() -> None:
    row = encoded(tiny("llava-siglip-llama").processor, None)
    row.labels[0] = row.ids[0]
    with pytest.raises(TooLongError, match="nothing is learned"):
        cut(row, 1)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_packs_hold_every_row_once_and_never_too_much(lengths: list[int], context: int) -> None:
    packs = pack(lengths, context)
    assert sorted(place for one in packs for place in one) == list(range(len(lengths)))
    totals = [sum(lengths[place] for place in one) for one in packs]
    assert all(0 < total <= context for total in totals)
    # No two could have been one: what fits is put together.
    assert all(one + other > context for place, one in enumerate(totals) for other in totals[:place])


def test_a_conversation_does_not_begin_as_what_the_one_before_goes_on_with() -> None:
    made = tiny("llava-siglip-llama")
    row = encoded(made.processor, None)
    row.labels[0], row.weights[0] = row.ids[0], 1.0
    packed = join(made.processor, [row, row])
    assert packed.labels[len(row.ids)] == IGNORED
    assert packed.weights[len(row.ids)] == 0
    assert packed.positions is not None
    assert packed.positions.tolist() == [*range(len(row.ids))] * 2
