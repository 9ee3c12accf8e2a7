"""From logits to tokens: temperature, nucleus, and the model's own log-probability.

A row draws from its own generator and is cut by its own nucleus, so what it samples does not depend on which other
rows are in the batch.
"""

from __future__ import annotations

import numpy as np
import torch

_HEADS = (128, 4096)
"""A nucleus is looked for among so many most probable tokens, then so many, and only then among all."""
_BLOCK = 16
"""Neighbouring tokens that are looked at together where the most probable ones are sought."""
_CHUNK = 64


class Uniforms:
    """An endless row of numbers in [0, 1) that depends on the seed alone; number n decides the token n."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(seed & (2**63 - 1))
        self._known: list[float] = []

    def __getitem__(self, place: int) -> float:
        while place >= len(self._known):
            self._known += torch.rand(_CHUNK, generator=self._generator, dtype=torch.float64).tolist()
        return self._known[place]


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
    logits, greedy = logits.float(), temperature <= 0
    mass = _mass(logits)
    warmth = temperature.masked_fill(greedy, 1.0)
    usual = bool((warmth == 1.0).all())
    if bool(greedy.all()):
        chosen = logits.argmax(-1)
        chosen = chosen if lanes is None else chosen[lanes]
    else:
        # Where all are at temperature 1, logits and mass are what they are.
        scaled = logits if usual else logits / warmth[:, None]
        chosen = _draw(scaled, mass if usual else _mass(scaled), top_p.masked_fill(greedy, 0.0), draws, lanes)
        if bool(greedy.any()):
            most = logits.argmax(-1)
            cold = greedy if lanes is None else greedy[lanes]
            chosen = torch.where(cold, most if lanes is None else most[lanes], chosen)
    if lanes is not None:
        return chosen, logits[lanes, chosen] - mass[lanes]
    return chosen, logits.gather(-1, chosen[:, None])[:, 0] - mass


def _mass(logits: torch.Tensor) -> torch.Tensor:
    """The log-sum-exp of each row, (rows,); over many tokens several times as fast as torch's own on a CPU."""
    top = logits.amax(-1, keepdim=True)
    return (logits - top).exp_().sum(-1).log_() + top[:, 0]


def highest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each row and where they are, largest first, as `topk` gives them.

    They lie in the `count` blocks whose own largest are the largest, which leaves few to be sorted.
    """
    size = logits.shape[-1]
    blocks = size // _BLOCK
    if blocks < 2 * count:
        values, ids = logits.topk(count, dim=-1)
        return values, ids
    chosen = logits.unfold(-1, _BLOCK, _BLOCK).amax(-1).topk(count, dim=-1).indices
    found = (chosen[..., None] * _BLOCK + torch.arange(_BLOCK, device=logits.device)).flatten(1)
    rest = torch.arange(blocks * _BLOCK, size, device=logits.device).expand(len(logits), -1)
    found = torch.cat([found, rest], dim=-1)
    values, places = logits.gather(-1, found).topk(count, dim=-1)
    return values, found.gather(-1, places)


def _draw(
    scaled: torch.Tensor,
    mass: torch.Tensor,
    top_p: torch.Tensor,
    draws: torch.Tensor,
    lanes: torch.Tensor | None,
    heads: tuple[int, ...] = _HEADS,
) -> torch.Tensor:
    """A token for each row from the nucleus of its lane: by falling probability, or, of all tokens, by id."""
    size, *wider = (min(head, scaled.shape[-1]) for head in heads)
    values, ids = highest(scaled, size)
    head = (values - mass[:, None]).exp()
    before = head.cumsum(-1) - head
    # The first token is in whatever `top_p` is; at 1 all are in.
    outside = (before >= torch.where(top_p < 1.0, top_p, torch.inf)[:, None]) & (before > 0)
    places = _places(head.masked_fill(outside, 0.0), draws, lanes)
    drawn = (ids if lanes is None else ids[lanes]).gather(-1, places)[:, 0]
    if size < scaled.shape[-1] and bool((wide := head.sum(-1) < top_p).any()):
        mine = wide if lanes is None else wide[lanes]
        among = wide.cumsum(0) - 1
        rows = (among if lanes is None else among[lanes])[mine]
        if wider:
            drawn[mine] = _draw(scaled[wide], mass[wide], top_p[wide], draws[mine], rows, tuple(wider))
        else:
            inside = nucleus((scaled[wide] - mass[wide, None]).exp(), top_p[wide])
            drawn[mine] = _places(inside, draws[mine], rows)[:, 0]
    return drawn


def _places(mass: torch.Tensor, draws: torch.Tensor, lanes: torch.Tensor | None) -> torch.Tensor:
    """Where each draw falls in the mass of its lane, (lanes, tokens); (rows, 1)."""
    cumulative = mass.cumsum(-1, dtype=torch.float64)
    if lanes is not None:
        cumulative = cumulative[lanes]
    target = draws[:, None].double() * cumulative[:, -1:]
    # The first place whose cumulative mass exceeds the target has mass of its own.
    return torch.searchsorted(cumulative, target, right=True).clamp_(max=mass.shape[-1] - 1)


def nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The smallest set of most probable tokens whose mass reaches `top_p`; of equals, those with the lowest ids.

    Args:
        probabilities: (rows, vocabulary), each row sums to 1.
        top_p: (rows,), in (0, 1].

    Returns:
        Probabilities of the tokens in the nucleus and 0 elsewhere, (rows, vocabulary); at least one is in.
    """
    falling = _falling(probabilities)
    before = falling.cumsum(-1, dtype=torch.float64) - falling
    count = ((before < top_p[:, None]) | (top_p[:, None] >= 1.0)).sum(-1, keepdim=True).clamp_(min=1)
    least = falling.gather(-1, count - 1)
    inside = probabilities >= least
    over = inside.sum(-1, keepdim=True) - count
    if bool((over > 0).any()):
        tied = probabilities == least
        inside &= ~tied | (tied.cumsum(-1) <= tied.sum(-1, keepdim=True) - over)
    return probabilities * inside


def _falling(values: torch.Tensor) -> torch.Tensor:
    """Each row sorted, largest first. On a CPU numpy does it, many times sooner than torch."""
    if values.device.type != "cpu":
        return values.sort(dim=-1, descending=True).values
    return torch.from_numpy(-np.sort(-values.numpy(), axis=-1))
