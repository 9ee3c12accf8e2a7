"""Slots and trunks: whatever joins, moves and leaves, each row holds its own sequence and attends to it alone."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from stepsight.engines.transformers.attention import attend
from stepsight.engines.transformers.buffer import KVShape
from stepsight.engines.transformers.filling import alike
from stepsight.engines.transformers.slots import Slots

SHAPE = KVShape(layers=2, heads=2, head_dim=4, dtype=torch.float32, device=torch.device("cpu"), own=(0, 1))


def values(length: int, seed: int) -> torch.Tensor:
    """Key-values of a sequence, (layers, 2, heads, length, dim)."""
    return torch.randn(2, 2, 2, length, 4, generator=torch.Generator().manual_seed(seed))


@st.composite
def acts(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    """A story of a batch: groups of rows that join on a trunk, steps, and rows that leave."""
    kinds = st.sampled_from(["join", "join", "step", "leave"])
    return draw(
        st.lists(st.tuples(kinds, st.integers(0, 6), st.integers(1, 3), st.integers(0, 99)), min_size=1, max_size=14)
    )


@settings(deadline=None)
@given(acts())
def test_rows_keep_and_attend_to_their_own_sequences(story: list[tuple[str, int, int, int]]) -> None:
    slots = Slots(SHAPE)
    held: list[torch.Tensor] = []
    for number, (kind, length, count, dice) in enumerate(story):
        if kind == "join":
            whole = values(length, 100 + number)
            trunk = slots.plant([whole[:, :, :, : length // 2], whole[:, :, :, length // 2 :]])
            for row in range(count):
                own = values(1 + (row + dice) % 3, 1000 * number + row)
                slots.join([own], trunk)
                held.append(torch.cat([whole, own], dim=3))
        elif held and kind == "leave":
            last = len(held) - 1
            slots.move(last, dice % len(held), held[last].shape[3])
            held[dice % len(held)] = held[last]
            held.pop()
            slots.keep(last)
        elif held:
            _step(slots, held, seed=number)
        for row, sequence in enumerate(held):
            size = sequence.shape[3]
            for start in (0, size // 2, max(0, size - 1)):
                assert torch.equal(slots.read(row, start, size), sequence[:, :, :, start:])


def _step(slots: Slots, held: list[torch.Tensor], *, seed: int) -> None:
    """Write one to two tokens into every row and compare what attention makes of it with each row alone."""
    rows, width = len(held), 1 + seed % 2
    inside = [sequence.shape[3] - slots.offset(row) for row, sequence in enumerate(held)]
    reach = max(inside) + width
    slots.reserve(rows, reach)
    starts = torch.tensor(inside)
    slots.aim(starts, width, reach)
    columns = starts[:, None] + torch.arange(width)
    hidden = torch.arange(reach) > columns[:, :, None]
    mask = torch.zeros(hidden.shape).masked_fill_(hidden, torch.finfo(torch.float32).min)[:, None]
    fresh = [values(width, 7000 + 100 * seed + row) for row in range(rows)]
    query = torch.randn(rows, 4, width, 4, generator=torch.Generator().manual_seed(seed))
    module = torch.nn.Module()
    module.is_causal, module.num_key_value_groups = True, 2  # type: ignore[assignment]
    for layer in (0, 1):
        keys = torch.stack([one[layer, 0] for one in fresh])
        key, value = slots.update(keys, torch.stack([one[layer, 1] for one in fresh]), layer)
        found, _ = attend(module, query, key, value, mask)
        for row, sequence in enumerate(held):
            whole = torch.cat([sequence, fresh[row]], dim=3)[layer].repeat_interleave(2, dim=1)
            size = whole.shape[2]
            causal = torch.arange(size) <= torch.arange(size - width, size)[:, None]
            alone = scaled_dot_product_attention(query[row], whole[0], whole[1], attn_mask=causal)
            assert torch.allclose(found[row], alone.transpose(0, 1), atol=1e-5)
    for row in range(rows):
        held[row] = torch.cat([held[row], fresh[row]], dim=3)


def test_rows_outlive_growth_and_those_that_left_are_not_copied() -> None:
    slots = Slots(SHAPE)
    held = [values(length, length) for length in (3, 5, 4)]
    for one in held:
        slots.join([one])
    slots.keep(2)
    for size in (300, 700):
        slots.reserve(40, size)
        assert all(torch.equal(slots.read(row, 0, one.shape[3]), one) for row, one in enumerate(held[:2]))
        assert not slots.rows.held[:, :, 2:].any()
        assert not slots.rows.held[:, :, :, :, 5:].any()
        assert slots.rows.held.data_ptr() % 64 == 0


def test_a_trunk_that_nobody_stands_on_is_given_back() -> None:
    slots = Slots(SHAPE)
    for number in range(40):
        trunk = slots.plant([values(5, number)])
        slots.join([], trunk)
        slots.join([], trunk)
        if slots.rows.slots >= 4:
            slots.move(1, 0, 5)
            slots.keep(1)
    assert slots.trunks.slots <= 4


def test_sequences_that_share_most_of_themselves_are_put_together() -> None:
    keys = torch.arange(200).numpy()
    other = keys + 1000
    first = [keys[:100], other[:90], keys[:120], keys[:20], other[:70], keys[:0]]
    assert alike(first) == [([0, 2], 100), ([1, 4], 70), ([3, 5], 0)]
