"""Guesses at how a text goes on, without a model: from what was written before behind the same few tokens.

A guess is run beside the token before it and costs next to nothing where a step is bound by anything but arithmetic.
What the row would have sampled there anyway decides whether it holds, so no guess changes what is written: at
temperature above 0 too, because each token's random number belongs to its place (speculative decoding, arXiv
2211.17192, with guesses looked up as in arXiv 2304.04487). Stages say many things twice: a REASONING goes through the
objects of its CAPTION, candidates repeat one another, and tags are always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

ORDERS = (6, 4, 3, 2)
"""How many tokens in a row are looked up; the longest that is known speaks."""
_SURE = 0.4
"""In which share of its last uses a guess must have held."""
_WINDOW = 8
_ENTRIES = 200_000
"""Entries of a memory after which the older half is forgotten."""

Tail = tuple[int, ...]
"""The last few tokens of a text, at most as many as the longest order."""


@dataclass(slots=True)
class _Guess:
    """The token that leads behind some others; by how much, and how often they were seen."""

    token: int
    lead: int = 1
    seen: int = 1


@dataclass
class Memory:
    """What was seen to follow what."""

    young: dict[Tail, _Guess] = field(default_factory=dict)
    old: dict[Tail, _Guess] = field(default_factory=dict)

    def learn(self, tail: Tail, token: int) -> None:
        """`token` came behind `tail`."""
        for order in ORDERS:
            if len(tail) < order:
                continue
            key = tail[-order:]
            known = self.young.get(key)
            if known is None:
                known = self.old.get(key)
                if known is None:
                    self.young[key] = _Guess(token)
                    continue
                self.young[key] = known
            known.seen += 1
            if known.token == token:
                known.lead += 1
            elif known.lead > 1:
                known.lead -= 1
            else:
                known.token = token
        if len(self.young) > _ENTRIES // 2:
            self.old, self.young = self.young, {}

    def read(self, tokens: Sequence[int]) -> Tail:
        """Learn a whole text; its tail."""
        tail: Tail = ()
        for token in tokens:
            self.learn(tail, token)
            tail = longer(tail, token)
        return tail

    def find(self, key: Tail) -> _Guess | None:
        """What is known to come behind `key`."""
        return self.young.get(key) or self.old.get(key)


def longer(tail: Tail, token: int) -> Tail:
    """The tail of a text that has one token more."""
    return (*tail[1 - ORDERS[0] :], token)


def guess(memories: Sequence[Memory], tail: Tail, most: int) -> list[int]:
    """Up to `most` tokens that may follow `tail`; of what is known by equally long keys, the first memory's counts."""
    made: list[int] = []
    while len(made) < most:
        found = _next(memories, tail)
        if found is None:
            break
        made.append(found)
        tail = longer(tail, found)
    return made


def _next(memories: Sequence[Memory], tail: Tail) -> int | None:
    for order in ORDERS:
        if len(tail) < order:
            continue
        key = tail[-order:]
        for memory in memories:
            known = memory.find(key)
            if known is not None:
                return known.token if known.lead >= _SURE * min(known.seen, _WINDOW) else None
    return None
