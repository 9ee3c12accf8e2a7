"""Orders from comparisons: sound on consistent ones, settled on any."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.judges.tournament import Compare, Duel, Pair, Ties, knock_out, round_robin

STRENGTHS = st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True)


class Referee:
    """Compares by strength and keeps the pairs of each batch."""

    def __init__(self, strengths: Sequence[int]) -> None:
        self.strengths = strengths
        self.batches: list[list[Pair]] = []

    async def __call__(self, pairs: Sequence[Pair]) -> list[Duel]:
        self.batches.append(list(pairs))
        gaps = [float(self.strengths[one] - self.strengths[other]) for one, other in pairs]
        return [Duel("first" if gap > 0 else "second", gap) for gap in gaps]


def always(duel: Duel) -> Compare:
    async def compare(pairs: Sequence[Pair]) -> list[Duel]:
        return [duel for _ in pairs]

    return compare


@given(strengths=STRENGTHS)
async def test_round_robin_orders_by_strength_in_one_batch(strengths: list[int]) -> None:
    referee = Referee(strengths)
    order = await round_robin(range(len(strengths)), referee, "log-odds")
    assert [strengths[one] for one in order] == sorted(strengths, reverse=True)
    n = len(strengths)
    assert [len(batch) for batch in referee.batches] == ([n * (n - 1) // 2] if n > 1 else [])


@given(strengths=STRENGTHS, seed=st.integers(0, 2**62))
async def test_knock_out_crowns_the_strongest_in_n_minus_one_comparisons(strengths: list[int], seed: int) -> None:
    referee = Referee(strengths)
    order = await knock_out(range(len(strengths)), referee, "log-odds", seed)
    assert sorted(order) == list(range(len(strengths)))
    assert strengths[order[0]] == max(strengths)
    assert sum(map(len, referee.batches)) == len(strengths) - 1
    assert len(referee.batches) == (len(strengths) - 1).bit_length()


async def test_knock_out_draw_depends_on_its_seed_alone() -> None:
    def draw(seed: int) -> Referee:
        return Referee(range(9))

    first, again, other = draw(1), draw(1), draw(2)
    await knock_out(range(9), first, "log-odds", 1)
    await knock_out(list(reversed(range(9))), again, "log-odds", 1)
    await knock_out(range(9), other, "log-odds", 2)
    assert first.batches == again.batches != other.batches


@pytest.mark.parametrize("ties", ["likelihood", "log-odds", "index"])
@pytest.mark.parametrize("duel", [Duel("unreadable", None), Duel("tie", 0.0)])
async def test_without_information_the_lower_number_stays(duel: Duel, ties: Ties) -> None:
    assert await round_robin([2, 0, 1], always(duel), ties) == [0, 1, 2]
    assert (await knock_out([2, 0, 1], always(duel), ties, 5))[0] == 0


async def test_ties_go_by_log_odds_or_by_number() -> None:
    for_second = always(Duel("tie", -0.5))
    assert await round_robin([0, 1], for_second, "log-odds") == [1, 0]
    assert await round_robin([0, 1], for_second, "index") == [0, 1]
    assert await knock_out([0, 1], for_second, "log-odds", 0) == [1, 0]
    assert await knock_out([0, 1], for_second, "index", 0) == [0, 1]


async def test_a_cycle_is_settled_by_margins() -> None:
    async def cycle(pairs: Sequence[Pair]) -> list[Duel]:
        odds = {(0, 1): 1.0, (1, 2): 3.0, (0, 2): -1.0}  # 0 beats 1 beats 2 beats 0
        return [Duel("first" if odds[pair] > 0 else "second", odds[pair]) for pair in pairs]

    assert await round_robin([0, 1, 2], cycle, "log-odds") == [1, 0, 2]
