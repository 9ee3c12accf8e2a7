"""How pairwise comparisons become an order: a round robin for few contestants, a knock-out for many.

Both see only numbers of contestants and an async function that compares pairs, many at once.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Pair = tuple[int, int]


@dataclass(frozen=True)
class Duel:
    """What a pair came to. `lean` > 0 speaks for the first, in nats; None: it could not be read."""

    outcome: Literal["first", "second", "tie", "unreadable"]
    lean: float | None


Compare = Callable[[Sequence[Pair]], Awaitable[Sequence[Duel]]]
Ties = Literal["likelihood", "log-odds", "index"]


def margin(duel: Duel, pair: Pair, ties: Ties) -> float:
    """By how much the first of `pair` is ahead; 0 if nothing can be said."""
    if duel.lean is None:
        return 0.0
    if duel.outcome == "tie" and ties == "index":
        return 0.0
    return duel.lean


async def round_robin(contestants: Sequence[int], compare: Compare, ties: Ties) -> list[int]:
    """Everybody meets everybody, in one batch of n(n-1)/2 comparisons; best first.

    A won comparison gives one point; an unreadable one half a point to both. A tie is decided by its lean or,
    with `ties="index"`, for the lower number. Equal points: the higher sum of margins, then the lower number.
    """
    pairs = list(combinations(sorted(contestants), 2))
    duels = await compare(pairs) if pairs else []
    points = dict.fromkeys(contestants, 0.0)
    margins = dict.fromkeys(contestants, 0.0)
    for (first, second), duel in zip(pairs, duels, strict=True):
        ahead = margin(duel, (first, second), ties)
        margins[first] += ahead
        margins[second] -= ahead
        if ahead != 0.0:
            share = 1.0 if ahead > 0.0 else 0.0
        else:
            share = 1.0 if duel.outcome == "tie" and ties == "index" else 0.5
        points[first] += share
        points[second] += 1.0 - share
    return sorted(contestants, key=lambda one: (-points[one], -margins[one], one))


async def knock_out(contestants: Sequence[int], compare: Compare, ties: Ties, seed: int) -> list[int]:
    """n-1 comparisons in about log2(n) batches, drawn at random from `seed`; best first.

    Those who leave later rank higher; those who leave in the same round, by how narrowly they lost, then by number.
    Where nothing can be said about a pair, the lower number stays.
    """
    left = sorted(contestants)
    random.Random(seed).shuffle(left)
    ranks: dict[int, tuple[int, float, int]] = {}
    level = 0
    while len(left) > 1:
        pairs: list[Pair] = [(min(pair), max(pair)) for pair in zip(left[::2], left[1::2], strict=False)]
        duels = await compare(pairs)
        level += 1
        # An odd one out goes first into the next round, so that nobody is waved through twice in a row.
        stay = [left[-1]] if len(left) % 2 else []
        for pair, duel in zip(pairs, duels, strict=True):
            ahead = margin(duel, pair, ties)
            winner, loser = pair if ahead >= 0.0 else pair[::-1]
            stay.append(winner)
            ranks[loser] = (-level, abs(ahead), loser)
        left = stay
    return [*left, *sorted(ranks, key=lambda one: ranks[one])]
