"""Sampling: the nucleus, the draws, the log-probabilities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.engines.transformers.sampling import Uniforms, choose, highest, nucleus


def numbers(seed: int, count: int) -> list[float]:
    draws = Uniforms(seed)
    return [draws[place] for place in range(count)]


def pick(logits: torch.Tensor, temperature: float, top_p: float, draws: list[float]) -> tuple[list[int], list[float]]:
    rows = len(draws)
    tokens, logprobs = choose(
        logits.expand(rows, -1),
        temperature=torch.full((rows,), temperature),
        top_p=torch.full((rows,), top_p),
        draws=torch.tensor(draws, dtype=torch.float64),
    )
    return tokens.tolist(), logprobs.tolist()


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([2, 7, 300, 1000, 6000]),
    top_p=st.floats(0.01, 1.0),
    temperature=st.floats(0.05, 3.0),
    sharpness=st.floats(0.0, 8.0),
)
def test_tokens_come_from_the_nucleus_with_their_own_logprob(
    seed: int, size: int, top_p: float, temperature: float, sharpness: float
) -> None:
    logits = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * sharpness
    tokens, logprobs = pick(logits, temperature, top_p, [0.0, 0.2, 0.5, 0.9, 1 - 2**-53])
    probabilities = (logits / temperature).softmax(-1)
    for token, logprob in zip(tokens, logprobs, strict=True):
        # In the nucleus: the tokens more probable than this one do not reach top_p without it.
        above = float(probabilities[probabilities > probabilities[token]].sum())
        assert above < top_p + 1e-5
        assert logprob == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000), top_p=st.floats(0.05, 1.0), sharpness=st.floats(0.0, 6.0), steps=st.sampled_from([0, 5])
)
def test_the_nucleus_is_the_smallest_set_of_most_probable_tokens(
    seed: int, top_p: float, sharpness: float, steps: int
) -> None:
    logits = torch.randn(2, 500, generator=torch.Generator().manual_seed(seed)) * sharpness
    # Coarse logits make many tokens equally probable.
    logits = (logits * steps).round() / steps if steps else logits
    probabilities = logits.softmax(-1)
    found = nucleus(probabilities, torch.tensor([top_p, 1.0]))
    inside = found[0] > 0
    assert torch.equal(found[0][inside], probabilities[0][inside])
    assert float(found[0].sum()) >= top_p - 1e-5
    # The least probable token is needed, and who is outside is no more probable; of equals the last is outside.
    least = found[0][inside].min()
    assert float(found[0].sum() - least) < top_p + 1e-5
    assert bool((probabilities[0][~inside] <= least).all())
    ties = (probabilities[0] == least).nonzero()[:, 0]
    assert inside[ties].tolist() == sorted(inside[ties].tolist(), reverse=True)
    assert torch.equal(found[1], probabilities[1])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), draw=st.floats(0, 1, exclude_max=True))
def test_a_row_draws_the_same_whoever_is_beside_it(seed: int, draw: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    flat, peaked = torch.randn(400, generator=generator) * 0.1, torch.randn(400, generator=generator) * 5
    draws = torch.tensor([draw, draw, draw], dtype=torch.float64)
    both, _ = choose(
        torch.stack([peaked, flat]),
        temperature=torch.tensor([0.7, 0.7]),
        top_p=torch.tensor([0.9, 0.95]),
        draws=draws,
        lanes=torch.tensor([1, 0, 1]),
    )
    assert both.tolist() == [pick(flat, 0.7, 0.95, [draw])[0][0], pick(peaked, 0.7, 0.9, [draw])[0][0], both[0]]


def test_draws_from_a_wide_nucleus_follow_the_distribution() -> None:
    logits = torch.zeros(10_000)
    logits[::2] = 3.0
    tokens, _ = pick(logits, 1.0, 0.9, numbers(6, 4000))
    counts = torch.bincount(torch.tensor(tokens), minlength=10_000)
    # Even ids have 95.3 % of the mass, so the nucleus is the first 4,724 of them.
    assert not counts[1::2].any()
    assert not counts[2 * 4724 :].any()
    shares = counts[: 2 * 4720].view(8, -1).sum(-1) / 4000
    assert torch.allclose(shares, torch.full((8,), 1 / 8), atol=0.03)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), size=st.integers(1, 3000), count=st.integers(1, 40), alike=st.booleans())
def test_the_highest_are_those_of_topk(seed: int, size: int, count: int, alike: bool) -> None:
    logits = torch.randn(3, size, generator=torch.Generator().manual_seed(seed))
    # Sorted, the largest are neighbours; a few of them stand behind the last whole block.
    logits = logits.sort(-1).values if alike else logits
    values, ids = highest(logits, min(count, size))
    assert torch.equal(values, logits.topk(min(count, size), dim=-1).values)
    assert torch.equal(logits.gather(-1, ids), values)


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    count = 4000
    tokens, _ = pick(logits, 1.0, 1.0, numbers(5, count))
    shares = torch.bincount(torch.tensor(tokens), minlength=4) / count
    assert torch.allclose(shares, logits.softmax(-1), atol=0.03)


def test_temperature_zero_takes_the_most_probable_and_rows_keep_their_own_settings() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.9], [0.0, 1.0, 0.9]])
    tokens, _ = choose(
        logits,
        temperature=torch.tensor([0.0, 1.0]),
        top_p=torch.tensor([0.5, 1.0]),
        draws=torch.tensor([0.99, 0.99], dtype=torch.float64),
    )
    assert tokens.tolist() == [1, 0]


def test_draws_depend_on_the_seed_alone() -> None:
    first, again, other = (numbers(seed, 200) for seed in (3, 3, 4))
    assert first == again != other
    assert all(0 <= draw < 1 for draw in first)
    # In whatever order they are asked for.
    late = Uniforms(3)
    assert [late[place] for place in (150, 3, 199)] == [first[place] for place in (150, 3, 199)]
