"""The prefix store against a list of everything that was ever stored."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.engines.transformers.prefix_store import Keys, PrefixStore, common_length

# Few different keys, so that sequences often share beginnings. Negative ones stand for picture positions.
SEQUENCES = st.lists(st.lists(st.integers(-1, 1), min_size=1, max_size=12), min_size=1, max_size=20)


def keys_of(sequence: list[int]) -> Keys:
    return np.array(sequence, dtype=np.int64)


def values_of(keys: Keys) -> torch.Tensor:
    """Values that tell, at each position, all the keys up to there: as causal key-values do."""
    told: list[float] = []
    state = 1.0
    for key in keys:
        state = (state * 3 + int(key) + 1) % 99991
        told.append(state)
    return torch.tensor(told).reshape(1, 1, 1, -1, 1).expand(2, 2, 1, -1, 3)


def put(store: PrefixStore, keys: Keys) -> int:
    return store.insert(keys, lambda start, end: values_of(keys)[:, :, :, start:end].clone())


@settings(deadline=None)
@given(stored=SEQUENCES, asked=SEQUENCES)
def test_the_longest_stored_prefix_is_found_with_its_own_values(
    stored: list[list[int]], asked: list[list[int]]
) -> None:
    store = PrefixStore(2**30)
    for sequence in stored:
        assert put(store, keys_of(sequence)) == len(sequence)
    for sequence in asked:
        keys = keys_of(sequence)
        length, parts = store.match(keys)
        assert length == max(common_length(keys, keys_of(other)) for other in stored)
        if length:
            assert torch.equal(torch.cat(parts, dim=3), values_of(keys[:length]))


@settings(deadline=None)
@given(stored=SEQUENCES, tokens=st.integers(0, 30))
def test_the_bound_is_never_exceeded_and_what_is_found_is_right(stored: list[list[int]], tokens: int) -> None:
    one = 8 + 2 * 2 * 3 * 4
    store = PrefixStore(tokens * one)
    for count, sequence in enumerate(stored, start=1):
        keys = keys_of(sequence)
        kept = put(store, keys)
        assert store.nbytes <= store.max_bytes
        assert store.match(keys)[0] == kept
        if len(sequence) <= tokens and count == 1:
            assert kept == len(sequence)
        held = 0
        for other in stored[:count]:
            length, parts = store.match(keys_of(other))
            if length:
                assert torch.equal(torch.cat(parts, dim=3), values_of(keys_of(other)[:length]))
            held += length
        assert store.nbytes <= held * one


def test_shared_beginnings_are_held_once() -> None:
    store = PrefixStore(2**30)
    prompt = list(range(100))
    for last in range(8):
        put(store, keys_of([*prompt, 200 + last]))
    one = 8 + 2 * 2 * 3 * 4
    assert store.nbytes == 108 * one


def test_what_was_used_longest_ago_goes_first_and_a_shared_prompt_outlives_its_losers() -> None:
    one = 8 + 2 * 2 * 3 * 4
    store = PrefixStore(30 * one)
    prompt = list(range(20))
    first, second, third = ([*prompt, *[100 + n] * 5] for n in range(3))
    put(store, keys_of(first))
    put(store, keys_of(second))
    store.match(keys_of(first))
    put(store, keys_of(third))
    assert store.match(keys_of(first))[0] == 25
    assert store.match(keys_of(third))[0] == 25
    assert store.match(keys_of(second))[0] == 20


def test_a_beginning_outlives_what_continues_it() -> None:
    one = 8 + 2 * 2 * 3 * 4
    store = PrefixStore(10 * one)
    put(store, keys_of([0, 1, 2, 3, 4]))
    put(store, keys_of([0, 1, 2, 3, 4, 5, 6]))
    put(store, keys_of([9, 9, 9, 9]))
    assert store.match(keys_of([0, 1, 2, 3, 4, 5, 6]))[0] == 5
    assert store.match(keys_of([9, 9, 9, 9]))[0] == 4


def test_only_what_is_missing_is_asked_for() -> None:
    store = PrefixStore(2**30)
    put(store, keys_of([1, 2, 3]))
    asked: list[tuple[int, int]] = []

    def take(start: int, end: int) -> torch.Tensor:
        asked.append((start, end))
        return values_of(keys_of([1, 2, 3, 4, 5]))[:, :, :, start:end].clone()

    store.insert(keys_of([1, 2, 3, 4, 5]), take)
    store.insert(keys_of([1, 2]), take)
    assert asked == [(3, 5)]
    store.clear()
    assert (len(store), store.nbytes, store.match(keys_of([1]))[0]) == (0, 0, 0)
