"""Which replica answers."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stepsight.engines.replicas.routing import Homes
from stepsight.protocols import SampleRequest, ScoreRequest, Turn


def about(picture: int, rows: int) -> SampleRequest:
    return SampleRequest((Turn("user", "?", (Path(f"{picture}.png"),)),), seeds=tuple(range(rows)))


def test_a_picture_stays_where_it_is_known_whatever_is_asked() -> None:
    homes = Homes(3)
    first = homes.choose(about(1, 4))
    judged = [ScoreRequest((Turn("user", "which is better?", (Path("1.png"),)),), ("A", "B"))] * 2
    assert homes.choose(judged) == first
    assert homes.choose(about(2, 4)) != first
    assert homes.choose(about(1, 4)) == first


def test_texts_without_pictures_go_by_how_they_begin() -> None:
    homes = Homes(2)
    one, other = (SampleRequest((Turn("user", text),), seeds=(1,)) for text in ("one", "other"))
    assert homes.choose(one) != homes.choose(other)
    assert homes.choose(one) == homes.choose(one)


def test_one_picture_for_all_does_not_leave_the_others_idle() -> None:
    homes = Homes(2)
    given_to = [homes.choose(about(1, 10)) for _ in range(40)]
    assert 5 < sum(given_to) < 35


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=60))
def test_rows_are_counted_and_never_far_apart(count: int, asked: list[tuple[int, int]]) -> None:
    homes = Homes(count)
    given_to = [(request, homes.choose(request)) for request in (about(picture, rows) for picture, rows in asked)]
    assert sum(homes.loads) == sum(rows for _, rows in asked)
    assert max(homes.loads) <= 2 * min(homes.loads) + 32 + 30
    for request, replica in given_to:
        homes.leave(replica, request)
    assert homes.loads == [0] * count
