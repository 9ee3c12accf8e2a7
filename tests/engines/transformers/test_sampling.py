"""Sampling: the nucleus, the draws, the log-probabilities."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.engines.transformers.sampling import choose, nucleus, uniforms


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
    size=st.sampled_from([2, 7, 300, 1000]),
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
@given(seed=st.integers(0, 1000), top_p=st.floats(0.05, 1.0), sharpness=st.floats(0.1, 6.0))
def test_a_wide_nucleus_is_the_same_however_it_is_found(seed: int, top_p: float, sharpness: float) -> None:
    logits = torch.randn(500, generator=torch.Generator().manual_seed(seed)) * sharpness
    probabilities = logits.softmax(-1)
    flat = torch.full((500,), 1 / 500)
    alone = nucleus(probabilities[None], torch.tensor([top_p]))
    # A flat neighbour makes the batch sort whole vocabularies.
    beside = nucleus(torch.stack([flat, probabilities]), torch.tensor([1.0, top_p]))
    width = alone[1].shape[1]
    assert torch.equal(alone[1][0], beside[1][1, :width])
    assert not beside[1][1, width:].any()
    kept = alone[1][0] > 0
    assert torch.equal(alone[0][0][kept], beside[0][1, :width][kept])
    assert float(alone[1].sum()) >= top_p - 1e-5


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    count = 4000
    tokens, _ = pick(logits, 1.0, 1.0, list(islice(uniforms(5), count)))
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
    first, again, other = (list(islice(uniforms(seed), 200)) for seed in (3, 3, 4))
    assert first == again != other
    assert all(0 <= draw < 1 for draw in first)
