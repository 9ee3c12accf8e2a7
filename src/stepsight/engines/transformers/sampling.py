"""From logits to tokens: temperature, nucleus, and the model's own log-probability.

A row draws from its own generator and is cut by its own nucleus, so what it samples does not depend on which other
rows are in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

_HEAD = 128
_CHUNK = 64


def uniforms(seed: int) -> Iterator[float]:
    """An endless stream of numbers in [0, 1) that depends on the seed alone."""
    generator = torch.Generator(device="cpu").manual_seed(seed & (2**63 - 1))
    while True:
        yield from torch.rand(_CHUNK, generator=generator, dtype=torch.float64).tolist()


def nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest set of most probable tokens whose mass reaches `top_p`; at least one token.

    Args:
        probabilities: (rows, vocabulary), each row sums to 1.
        top_p: (rows,), in (0, 1].

    Returns:
        Token ids by falling probability, and the probabilities of those in the nucleus with 0 elsewhere; both
        (rows, k) with k up to the vocabulary size.
    """
    rows, vocabulary = probabilities.shape
    values, ids = probabilities.topk(min(_HEAD, vocabulary), dim=-1)
    # Sorting a whole vocabulary is slow; it is done for those rows only whose nucleus is not inside the head.
    wide = (values.sum(-1) < top_p).nonzero()[:, 0] if vocabulary > _HEAD else None
    if wide is not None and len(wide):
        all_values = probabilities.new_zeros(rows, vocabulary)
        all_ids = ids.new_zeros(rows, vocabulary)
        all_values[:, :_HEAD], all_ids[:, :_HEAD] = values, ids
        all_values[wide], all_ids[wide] = probabilities[wide].sort(dim=-1, descending=True, stable=True)
        values, ids = all_values, all_ids
    before = values.cumsum(-1) - values
    outside = (before >= top_p[:, None]) & (top_p[:, None] < 1.0)
    return ids, values.masked_fill(outside, 0.0)


def choose(
    logits: torch.Tensor,
    *,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    draws: torch.Tensor,
    lanes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose one token per row.

    Args:
        logits: (lanes, vocabulary).
        temperature: (lanes,); 0 takes the most probable token.
        top_p: (lanes,), in (0, 1].
        draws: (rows,), uniform in [0, 1).
        lanes: (rows,), the lane of each row; None where each row is a lane of its own.

    Returns:
        Token ids and their log-probabilities in nats at temperature 1 without truncation; both (rows,).
    """
    logits = logits.float()
    logprobs = logits.log_softmax(-1)
    chosen = logits.argmax(-1)
    greedy = temperature <= 0
    if not bool(greedy.all()):
        scaled = logits / temperature.masked_fill(greedy, 1.0)[:, None]
        ids, mass = nucleus(scaled.softmax(-1), top_p)
        cumulative = mass.double().cumsum(-1)
        if lanes is not None:
            cumulative, ids, chosen, greedy = cumulative[lanes], ids[lanes], chosen[lanes], greedy[lanes]
        target = draws[:, None].double() * cumulative[:, -1:]
        # The first place whose cumulative mass exceeds the target has mass of its own, so it lies inside the nucleus.
        place = torch.searchsorted(cumulative, target, right=True).clamp_(max=ids.shape[-1] - 1)
        chosen = torch.where(greedy, chosen, ids.gather(-1, place)[:, 0])
    elif lanes is not None:
        chosen = chosen[lanes]
    if lanes is not None:
        return chosen, logprobs[lanes, chosen]
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]
